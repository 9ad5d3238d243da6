// The tokens that end an answer, as a folder of a model or an adapter declares them: generation_config.json's eos_token_id
// (one id or several) and tokenizer_config.json's eos_token (by its text).
#pragma once

#include <vector>

#include "base/status.h"
#include "io/beneath.h"
#include "text/tokenizer.h"

namespace umbel {

// Both files' together, in order, without repetition; empty when neither file says anything. A text that the tokenizer has no
// token for says nothing. kInvalidArgument naming file and field: not JSON, another type, an id outside the vocabulary.
Result<std::vector<TokenId>> read_end_tokens(const FolderReader& folder, const Tokenizer& tokenizer);

// `ids` and, behind them, those of the folder that are not among them.
Result<std::vector<TokenId>> with_end_tokens_of(const FolderReader& folder, const Tokenizer& tokenizer, std::vector<TokenId> ids);

}  // namespace umbel
