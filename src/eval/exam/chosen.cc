#include "eval/exam/chosen.h"

#include <numeric>

namespace umbel::eval {

double log_likelihood(const ScoredTokens& choice) { return std::accumulate(choice.logprobs.begin(), choice.logprobs.end(), 0.0); }

size_t greedy_choice(std::span<const ScoredTokens> choices) {
  std::vector<size_t> possible(choices.size());
  std::iota(possible.begin(), possible.end(), size_t{0});
  for (size_t step = 0; possible.size() > 1; ++step) {
    size_t best = possible.size();
    for (size_t i = 0; i < possible.size(); ++i) {
      const ScoredTokens& choice = choices[possible[i]];
      if (step >= choice.ids.size()) continue;
      if (best == possible.size() || choice.logprobs[step] > choices[possible[best]].logprobs[step]) best = i;
    }
    if (best == possible.size()) break;  // all of them end here: the same tokens
    const int32_t token = choices[possible[best]].ids[step];
    std::vector<size_t> left;
    for (const size_t index : possible) {
      if (step < choices[index].ids.size() && choices[index].ids[step] == token) left.push_back(index);
    }
    possible = std::move(left);
  }
  return possible.front();
}

}  // namespace umbel::eval
