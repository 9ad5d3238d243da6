// Detokenizer: a stream of ids to a stream of text that never ends in half a code point and whose pieces joined equal
// Tokenizer::decode of all ids. One per running answer; not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace umbel {

class Detokenizer {
 public:
  // prompt_tail: the last few prompt ids, so that the first piece gets its leading space right.
  Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special, std::vector<TokenId> prompt_tail = {});

  // The text that this id completes; often empty in the middle of a code point.
  std::string push(TokenId id);
  // What is still held back, with U+FFFD for an incomplete code point.
  std::string flush();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  std::vector<TokenId> ids_;  // a window: [prefix_, read_) is already out
  size_t prefix_ = 0;
  size_t read_ = 0;
};

}  // namespace umbel
