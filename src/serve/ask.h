// Ask: what one generation request wants, in one form for both dialects, before names are resolved and text is
// tokenized.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/request.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::serve {

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct Ask {
  std::string model;  // an adapter's name, or the base's; "" = base
  std::vector<Prompt> prompts;
  std::optional<ChatInput> chat;        // instead of prompts
  std::vector<OrderedJson> prompt_rows;  // instead of prompts: fields for the adapter's own template
  bool fill_template = false;  // the prompts are what the adapter's template, which has one field, is filled with
  bool chat_anyway = false;    // also an adapter that was trained on plain prompts
  const char* prompt_field = "prompt";  // its name in errors

  SamplingParams sampling;
  bool seeded = false;  // the client gave sampling.seed
  std::optional<int32_t> max_tokens;
  std::optional<int32_t> default_max_tokens;  // when max_tokens is absent; neither = the rest of the context
  const char* max_tokens_field = "max_tokens";
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<int32_t> stop_ids;
  std::vector<std::string> stops;
  bool include_stop = false;
  bool skip_special = true;
  std::optional<int32_t> truncate;  // only the last so many prompt tokens are used
  int32_t n = 1;
  int32_t best_of = 1;  // so many are made, the n with the best mean logprob are returned; >= n

  int32_t logprobs = -1;         // as Request
  int32_t prompt_logprobs = -1;  // as Request
  bool echo = false;

  bool stream = false;
  bool include_usage = false;     // stream: a last chunk with usage
  bool continuous_usage = false;  // stream: usage in every chunk
  bool return_token_ids = false;
  std::string cache_salt;  // digest of the client's own, as Request; "" = none given
};

}  // namespace umbel::serve
