// Which choice greedy decoding writes when it can write nothing else, from how likely each token of each choice is behind those before it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace umbel::eval {

struct ScoredTokens {
  std::vector<int32_t> ids;       // of one choice, its end token last
  std::vector<float> logprobs;    // as many
};

double log_likelihood(const ScoredTokens& choice);

// Token by token: of the choices that are still possible, those that go on with the most likely next token stay. Of equally likely ones the
// first in the list stays. REQUIRES choices with tokens; of two that begin alike the one that ends there needs its end token. Returns an index.
size_t greedy_choice(std::span<const ScoredTokens> choices);

}  // namespace umbel::eval
