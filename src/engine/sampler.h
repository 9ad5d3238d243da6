// Sampler: which token comes next: a pure function of (params, seed, step, logits, history). No state, no shared random
// stream, so an answer never depends on its batch mates.
//
// Order and definitions follow transformers' logits processors and warpers, with OpenAI's two penalties between them:
//   1. logit_bias              s[i] += bias                                           (sequence bias comes first there too)
//   2. repetition_penalty      s[i] = s[i] > 0 ? s[i] / p : s[i] * p   for every id in prompt or answer
//   3. presence, frequency     s[i] -= presence + frequency * count(i in answer)      for every id in the answer
//   4. min_tokens              EOS and stop ids get -inf; so do, always, ids of a larger embedding that no token has
//   temperature 0: the largest score, the lowest id among equals. Otherwise s / temperature, then
//   5. top_k                   keeps scores not below the k-th largest (ties stay)
//   6. top_p                   keeps a token while the mass of the more likely ones is < p
//   7. min_p                   keeps probabilities >= p * the largest
//   8. typical_p               keeps the ids whose surprise is nearest to the entropy until their mass is >= p
//                              (Meister et al. 2023)
//   9. one uniform number from Philox(key = seed, counter = step) picks from what is left, by cumulative mass, most
//      likely first (lowest id first where nothing was filtered).
// NaN counts as -inf. At least one token is always kept; when every id is banned, the largest of the model's own logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/events.h"
#include "engine/request.h"

namespace umbel {

struct SampleInput {
  const SamplingParams& params;
  std::span<const float> logits;      // [vocab]
  std::span<const int32_t> history;   // prompt, then answer
  int32_t prompt_tokens = 0;          // how much of history is prompt; the step is history.size() - prompt_tokens
  std::span<const int32_t> banned = {};       // ids without a chance at this step
  std::span<const int32_t> banned_more = {};
  std::span<const int32_t> tokenless = {};  // ids that no token of the tokenizer has: never a chance; those of logits' size on do not count
};

// Working memory for one thread, sized for a vocabulary once.
struct SamplerScratch {
  explicit SamplerScratch(int64_t vocab) : scores(vocab), candidates(vocab), counts(vocab, 0) {}

  struct Candidate {
    float score;
    int32_t id;
  };
  std::vector<float> scores;
  std::vector<Candidate> candidates;
  std::vector<int32_t> counts;  // all zero between calls
};

// What steps 1 to 8 leave, in the order in which step 9 walks through it: scores are log-probabilities up to a common
// constant (the largest before filtering is 0). Empty when no logit is a number above -inf. REQUIRES temperature > 0.
// Valid until the next use of scratch.
std::span<const SamplerScratch::Candidate> sampling_candidates(const SampleInput& input, SamplerScratch& scratch);

// The next token, or -1 when no logit is a number above -inf (a broken model). Allocates nothing.
int32_t sample_token(const SampleInput& input, SamplerScratch& scratch);

// log_softmax of the model's own logits (before any of the steps above) at `token`, its rank, and the `top` best.
TokenLogprobs token_logprobs(std::span<const float> logits, int32_t token, int32_t top, SamplerScratch& scratch);

// kInvalidArgument naming the field that is out of range.
Status validate_sampling(const SamplingParams& params, int64_t vocab);

// u in [0, 1) for (seed, step).
double sample_uniform(uint64_t seed, int64_t step);

}  // namespace umbel
