// TokenizerShelf: the tokenizer that a request gets: its adapter's own where the folder adds tokens (text/adapter_tokenizer.h),
// else the base's.
//
// Any thread; may read a file of tens of megabytes, so not on an HTTP thread. A version of an adapter is read once, whether its
// tokenizer can be used or not. One of an adapter's own takes as much memory as the base's: at most kOwnMax are there, and the one
// that was used longest ago makes room for another.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "serve/parts.h"
#include "serve/token_texts.h"

namespace umbel::serve {

class TokenizerShelf {
 public:
  static constexpr size_t kOwnMax = 16;

  // parts outlives it.
  explicit TokenizerShelf(const ServeParts& parts);

  const std::shared_ptr<const TokenTexts>& base() const { return base_; }
  // As adapter_tokenizer(). kUnavailable while all of kOwnMax are in use.
  Result<std::shared_ptr<const TokenTexts>> find(const AdapterInfo& adapter);
  // What find() last said of this version, without reading anything: ok where it was not asked yet.
  Status known(const AdapterInfo& adapter) const;

 private:
  static constexpr size_t kAdaptersMax = 4096;
  struct Entry {
    std::shared_ptr<const TokenTexts> words;  // null: unusable
    Status unusable;
    uint64_t used = 0;  // turn of the last find()
  };
  Result<std::shared_ptr<const TokenTexts>> take_locked(Entry& entry);
  Status make_room_locked();

  const ServeParts& parts_;
  const std::shared_ptr<const TokenTexts> base_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> shelf_;  // name + "@" + version + "@" + digest
  uint64_t turn_ = 0;
};

}  // namespace umbel::serve
