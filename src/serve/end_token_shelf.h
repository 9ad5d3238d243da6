// EndTokenShelf: the tokens that end an adapter's answers: the base's, and those that its own folder declares.
//
// Any thread; may read two small files, so not on an HTTP thread. Found by content digest: a changed folder is read again.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/parts.h"

namespace umbel::serve {

class EndTokenShelf {
 public:
  // parts outlives it.
  explicit EndTokenShelf(const ServeParts& parts) : parts_(parts) {}

  // tokenizer: the adapter's.
  Result<std::vector<TokenId>> find(const AdapterInfo& adapter, const Tokenizer& tokenizer);

 private:
  static constexpr size_t kAdaptersMax = 4096;
  const ServeParts& parts_;
  std::mutex mutex_;
  std::map<std::string, std::vector<TokenId>> shelf_;  // by digest
};

}  // namespace umbel::serve
