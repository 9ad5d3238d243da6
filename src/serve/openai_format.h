// Answers in OpenAI's shapes: completions and chat completions, whole and as chunks, with both shapes of logprobs.
#pragma once

#include <span>
#include <string>

#include "serve/ask.h"
#include "serve/generation.h"

namespace umbel::serve {

// What is the same in every chunk of one answer.
struct AnswerHead {
  std::string id;  // "cmpl-..." or "chatcmpl-..."
  int64_t created = 0;
  std::string model;
  bool chat = false;
};

AnswerHead answer_head(const Generation& generation, bool chat);

Json completion_body(const AnswerHead& head, const Ask& ask, const Generation& generation, const TokenTexts& texts);
Json chat_body(const AnswerHead& head, const Ask& ask, const Generation& generation, const TokenTexts& texts);

// A chunk's frame, with choices still empty.
Json chunk_frame(const AnswerHead& head, const Ask& ask);
const char* openai_finish(FinishReason reason);

// Completions: {tokens, token_logprobs, top_logprobs, text_offset}. prompt: echoed ids with their logprobs (entry 0 has
// none), or empty. offset: where the first token's text begins, in code points.
struct LogprobSource {
  std::span<const TokenId> prompt;
  std::span<const TokenLogprobs> prompt_logprobs;
  std::span<const AnswerToken> tokens;
  size_t offset = 0;
};
Json completion_logprobs(const LogprobSource& source, const TokenTexts& texts);
// Chat: {content: [{token, logprob, bytes, top_logprobs}]}.
Json chat_logprobs(std::span<const AnswerToken> tokens, const TokenTexts& texts);

Json token_ids(std::span<const AnswerToken> tokens);

// Tokens whose text begins inside the first visible_bytes of the answer's text: a stop string that was cut off takes
// its tokens' logprobs along.
std::span<const AnswerToken> visible_tokens(const Answer& answer);

}  // namespace umbel::serve
