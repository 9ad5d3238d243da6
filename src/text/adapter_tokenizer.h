// An adapter's own tokenizer: the base's with tokens added, or none that can be used here.
//
// What a stranger's tokenizer.json does beside its list of tokens (patterns, normalizers) is not run: only names and ids are
// read, and everything that the base has too must mean the same there. A file costs its own size in memory and time.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "text/text_files.h"
#include "text/tokenizer.h"

namespace umbel {

inline constexpr size_t kAddedTokensMax = 1024;
inline constexpr size_t kAddedTokenBytesMax = 256;

// tokenizer.json, added_tokens.json and tokenizer_config.json's added_tokens_decoder of an adapter's folder: base itself where
// they add nothing (or are not there), else base with their tokens, which costs as much memory as base again. rows: of the
// model's vocabulary; an id from there on is refused.
//
// kUnsupported naming the file and the token: one that base has with another id, an id that base has for another token, or
// more or longer ones than allowed. kInvalidArgument: a file that can't be read.
Result<std::shared_ptr<const Tokenizer>> adapter_tokenizer(const TextFiles& files,
                                                           const std::shared_ptr<const Tokenizer>& base, int64_t rows);

}  // namespace umbel
