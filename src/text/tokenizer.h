// Tokenizer: text to ids and back, by the Hugging Face tokenizers crate (text/rust) behind a C ABI.
//
// Immutable after load; any thread may call any method.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "io/json.h"

namespace umbel {

using TokenId = int32_t;

// No tokenizer's tokens are so long on average: a text of more bytes than a context's tokens times this can't fit it, which
// is known before the work of tokenizing.
inline constexpr size_t kTokenBytesMax = 256;

struct TokenSpan {
  TokenId id;
  // Byte range in the input text.
  size_t begin;
  size_t end;
};

class Tokenizer {
 public:
  // DIR/tokenizer.json with the named and added tokens of DIR/tokenizer_config.json (or special_tokens_map.json) beside
  // it. A folder without tokenizer.json is kNotFound with the remedy.
  static Result<std::shared_ptr<const Tokenizer>> load(const Path& dir);
  // From the text of a tokenizer.json alone: bos() and eos() are unknown then.
  static Result<std::shared_ptr<const Tokenizer>> from_json(std::string_view tokenizer_json);
  virtual ~Tokenizer() = default;

  // add_special: what the post-processor in tokenizer.json says, as in transformers 5, which does not read
  // add_bos_token and add_eos_token where there is a tokenizer.json. A text that brings its own BOS keeps only that
  // one.
  virtual Result<std::vector<TokenId>> encode(std::string_view text, bool add_special) const = 0;
  virtual Result<std::vector<TokenSpan>> encode_spans(std::string_view text, bool add_special) const = 0;
  // skip_special leaves out special tokens. Ids outside the vocabulary are kInvalidArgument.
  virtual Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const = 0;
  // The vocabulary entry as it is written in the file; nullopt outside the vocabulary.
  virtual std::optional<std::string> token(TokenId id) const = 0;
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  virtual size_t vocab_size() const = 0;  // added tokens included
  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  // The same with further tokens, as tokenizer.json lists them ({id, content, special, ...}), in ascending order of their ids:
  // those that come next. kUnsupported when they don't. Costs as much memory as this one.
  virtual Result<std::shared_ptr<const Tokenizer>> with_added(const Json& tokens) const = 0;
  // SHA-256 over the files that it was made from: equal digests make equal ids of equal texts.
  virtual const std::string& digest() const = 0;
};

// Whether the text, tokenized by itself, has a special token in it; false where it can't be tokenized.
bool holds_special_token(const Tokenizer& tokenizer, std::string_view text);

}  // namespace umbel
