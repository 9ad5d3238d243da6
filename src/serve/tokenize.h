// /tokenize in LoRAX's form ("inputs") and vLLM's ("prompt" or "messages"), told apart by the body; vLLM's /detokenize and
// /tokenizer_info. Called on the work pool.
#pragma once

#include "serve/gate.h"
#include "serve/http_message.h"
#include "serve/shared.h"

namespace umbel::serve {

// LoRAX: [{id, text, start, stop}], offsets in code points. vLLM: {count, max_model_len, tokens, token_strs}.
HttpReply answer_tokenize(const Shared& shared, const HttpRequest& request, const Caller& caller);
// {"tokens": [...]} to {"prompt": text}, special tokens as they are written.
HttpReply answer_detokenize(const Shared& shared, const HttpRequest& request, const Caller& caller);
HttpReply show_tokenizer(const Shared& shared);

}  // namespace umbel::serve
