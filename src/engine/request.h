// Request: what is asked of the engine, in numbers; no words below this door.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "store/library.h"

namespace umbel {

using RequestId = uint64_t;

// Longest Request::cache_salt: a digest, not a text.
inline constexpr size_t kCacheSaltBytesMax = 64;

// What one tenant may have at once; 0 = the engine's own limit for every tenant (Limits), if any.
struct TenantCaps {
  int32_t running_max = 0;  // sequences; past it its requests wait
  int32_t queue_max = 0;    // waiting requests; past it kOverloaded, for this tenant only
};

struct SamplingParams {
  float temperature = 0.0f;   // 0 = greedy
  int32_t top_k = 0;          // 0 = off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f;  // over prompt and answer (Keskar et al. 2019, as transformers)
  float presence_penalty = 0.0f;    // over the answer (OpenAI)
  float frequency_penalty = 0.0f;   // over the answer (OpenAI)
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;          // the token at step t is a pure function of (seed, t, logits), whatever the batch
};

struct Request {
  std::vector<int32_t> prompt;        // at least one token
  AdapterRef adapter;                 // null = base
  SamplingParams sampling;
  int32_t max_tokens = 16;            // 0 with prompt_logprobs: score only
  int32_t min_tokens = 0;             // EOS and stop ids have no chance before
  bool ignore_eos = false;
  std::vector<int32_t> eos_ids;       // end with FinishReason::kEos
  std::vector<int32_t> stop_ids;      // end with FinishReason::kStop
  int32_t logprobs = -1;              // -1 none; n >= 0: the chosen token's and the n best
  int32_t prompt_logprobs = -1;       // same for prompt positions (from the second token on)
  std::optional<Duration> deadline;   // from submission
  uint64_t tenant = 0;                // who pays, for fair shares; 0 = nobody in particular, one tenant like any other
  TenantCaps tenant_caps;             // of that tenant, the same in all its requests
  std::string cache_salt;             // prefix blocks are shared between equal salts only; at most kCacheSaltBytesMax
};

}  // namespace umbel
