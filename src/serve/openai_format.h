// Answers in OpenAI's shapes: completions and chat completions, whole and as chunks, with both shapes of logprobs.
#pragma once

#include <span>
#include <string>

#include "serve/ask.h"
#include "serve/generation.h"
#include "serve/work_pool.h"

namespace umbel::serve {

enum class AnswerShape : uint8_t { kCompletion, kChat };

// What is the same in every chunk of one answer.
struct AnswerHead {
  std::string id;  // "cmpl-..." or "chatcmpl-..."
  int64_t created = 0;
  std::string model;
  std::string fingerprint;
  AnswerShape shape = AnswerShape::kCompletion;
};

AnswerHead answer_head(const Generation& generation, AnswerShape shape);

// A whole answer's JSON text, written choice by choice: a piece is a few dozen kilobytes, or one choice if that is more.
// Everything that it is given outlives it.
class BodyWriter {
 public:
  BodyWriter(const AnswerHead& head, const Ask& ask, const Generation& generation, const TokenTexts& texts);

  NextPiece step();
  std::string take() { return std::move(text_); }

 private:
  Json choice_json(size_t choice, size_t index) const;
  void finish();

  const AnswerHead& head_;
  const Ask& ask_;
  const Generation& generation_;
  const TokenTexts& texts_;
  const std::vector<size_t> returned_;
  size_t next_ = 0;
  std::string text_ = "{\"choices\":[";
};

// A chunk's frame, with choices still empty.
Json chunk_frame(const AnswerHead& head, const Ask& ask);
const char* openai_finish(FinishReason reason);

// Completions: {tokens, token_logprobs, top_logprobs, text_offset}. prompt: echoed ids with their logprobs (entry 0 has
// none) and places, or empty. offset: where the first answer token's text begins. Offsets count code points of the
// returned text.
struct LogprobSource {
  std::span<const TokenId> prompt;
  std::span<const TokenLogprobs> prompt_logprobs;
  std::span<const uint32_t> prompt_offsets;
  std::span<const AnswerToken> tokens;
  size_t offset = 0;
};
// The echoed prompt of a choice, without its answer.
LogprobSource prompt_source(const Generation& generation, size_t choice);
Json completion_logprobs(const LogprobSource& source, const TokenTexts& texts);
// Chat: {content: [{token, logprob, bytes, top_logprobs}]}.
Json chat_logprobs(std::span<const AnswerToken> tokens, const TokenTexts& texts);

Json token_ids(std::span<const AnswerToken> tokens);

// Those of the answer's tokens whose text begins inside its text: a stop string that was cut off takes its tokens' logprobs
// along.
std::span<const AnswerToken> visible_tokens(const Answer& answer, std::span<const AnswerToken> tokens);

}  // namespace umbel::serve
