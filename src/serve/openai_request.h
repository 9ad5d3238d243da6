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
Ask parse_chat(Fields& fields, OrderedJson ordered, const ServeParts& parts, const ServeOptions& options);

// The fields that these two read, for documentation.
std::vector<std::string> completion_fields(const ServeParts& parts, const ServeOptions& options);
std::vector<std::string> chat_fields(const ServeParts& parts, const ServeOptions& options);

// The conversation alone: messages, add_generation_prompt, chat_template_kwargs, documents.
ChatInput parse_chat_input(Fields& fields, OrderedJson ordered, const RequestLimits& limits);

}  // namespace umbel::serve
