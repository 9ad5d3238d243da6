// A prompt and what stands behind it, as the ids of one row.
//
// The prompt's ids are those that inference sends: the prompt tokenised alone. The ids behind them are what prompt and
// answer tokenised together add to these, so that the decoded row is the text that was given. Where a token of the whole
// would reach over the border (a prompt that ends in a blank, a line break that merges with the next), the answer's ids are
// those of a text that goes on there: without the blank that some tokenizers put before a text.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace umbel::data {

enum class Specials : uint8_t {
  kAdd,      // what the tokenizer writes before a text (BOS); never what it writes behind it
  kWritten,  // the text has its own, as a chat template's has
};

struct Continuation {
  std::vector<TokenSpan> tokens;  // byte ranges in prompt + answer
  size_t prompt_tokens = 0;       // the first of them
};

// Ids of a text that begins a row.
Result<std::vector<TokenSpan>> encode_beginning(const Tokenizer& tokenizer, std::string_view text, Specials specials);

// Costs two to four times the tokenising of the text. Where no tokenisation of the answer goes on from the prompt's ids
// (none of the real tokenizers at hand), the ids of the whole are taken, and prompt_tokens counts those that both share.
Result<Continuation> encode_continuation(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer, Specials specials);

// The ids of the whole text, for who scores the answer: prompt_tokens counts those before the first that is scored. Where prompt and
// whole differ in their ids, the blanks at the prompt's end are scored with the answer, as lm-evaluation-harness does it.
Result<Continuation> encode_together(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer);

}  // namespace umbel::data
