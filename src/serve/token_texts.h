// TokenTexts: a tokenizer, and what one token by itself reads like, for logprobs and token lists. (Running text comes from
// Detokenizer.)
//
// Immutable; any thread.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "text/tokenizer.h"

namespace umbel::serve {

class TokenTexts {
 public:
  explicit TokenTexts(std::shared_ptr<const Tokenizer> tokenizer);

  // The token's own bytes: perhaps half a code point; with the leading space of a word; a special token as written.
  // Empty for ids outside the vocabulary.
  std::string bytes(TokenId id) const;
  // bytes() when they are valid UTF-8, else OpenAI's form "bytes:\xe2\x80".
  std::string text(TokenId id) const;
  bool is_special(TokenId id) const { return tokenizer_->is_special(id); }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

 private:
  std::optional<std::string> byte_level_bytes(const std::string& entry) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool byte_level_ = false;                        // entries are written in GPT-2's byte alphabet
  std::unordered_map<std::string, char> letters_;  // that alphabet: UTF-8 letter -> byte
  std::optional<TokenId> anchor_;                  // an ordinary token; decoding behind it keeps the leading space
  std::string anchor_text_;
};

}  // namespace umbel::serve
