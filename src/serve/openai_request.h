// OpenAI request bodies read into an Ask. Sources: OpenAI's API reference (completions, chat completions) and vLLM's
// extra fields (top_k, min_p, repetition_penalty, stop_token_ids, ignore_eos, min_tokens, return_token_ids, ...).
#pragma once

#include "serve/ask.h"
#include "serve/fields.h"
#include "serve/parts.h"

namespace umbel::serve {

// On failure fields.ok() is false and the Ask is not to be used.
Ask parse_completion(Fields& fields, const ServeParts& parts, const ServeOptions& options);
// ordered: the same body with its keys in the order they were sent, as templates print them.
Ask parse_chat(Fields& fields, const OrderedJson& ordered, const ServeParts& parts, const ServeOptions& options);

}  // namespace umbel::serve
