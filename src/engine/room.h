// Room: how many tokens one request may have, its prompt and its answer together. The one place that decides, and words,
// "too long".
#pragma once

#include <cstdint>

#include "base/status.h"
#include "engine/limits.h"

namespace umbel {

// Of the context or of the whole KV memory, whichever ends first.
int64_t request_tokens_max(const Limits& limits);

// kTooLong with all numbers, in the words that OpenAI's clients look for, when they don't fit.
Status check_room(const Limits& limits, int64_t prompt_tokens, int64_t answer_tokens);

}  // namespace umbel
