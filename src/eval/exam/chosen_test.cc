#include "eval/exam/chosen.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/random.h"

namespace umbel::eval {
namespace {

TEST(Chosen, TheFirstTokenDecidesBeforeTheSum) {
  // "b c" is more likely as a whole, "a" begins more likely.
  const std::vector<ScoredTokens> choices = {{{1, 9}, {-0.5f, -3.0f}}, {{2, 3, 9}, {-0.9f, -0.1f, -0.1f}}};
  EXPECT_EQ(greedy_choice(choices), 0u);
  EXPECT_LT(log_likelihood(choices[0]), log_likelihood(choices[1]));
}

TEST(Chosen, OfTwoThatBeginAlikeTheEndTokenDecides) {
  std::vector<ScoredTokens> choices = {{{1, 9}, {-0.1f, -2.0f}}, {{1, 2, 9}, {-0.1f, -1.0f, -5.0f}}};
  EXPECT_EQ(greedy_choice(choices), 1u);
  choices[0].logprobs[1] = -0.5f;
  EXPECT_EQ(greedy_choice(choices), 0u);
  EXPECT_EQ(greedy_choice(std::vector<ScoredTokens>{{{1}, {-1.0f}}, {{1}, {-1.0f}}}), 0u) << "the same tokens: the first";
}

// Against a walk over all next tokens of a made-up model, masked to what continues a choice.
TEST(Chosen, IsWhatAMaskedWalkWrites) {
  Random random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::vector<int32_t>> texts;
    for (uint64_t i = 0, n = 2 + random.next_below(5); i < n; ++i) {
      std::vector<int32_t> ids;
      for (uint64_t k = 0, length = 1 + random.next_below(4); k < length; ++k) ids.push_back(static_cast<int32_t>(1 + random.next_below(3)));
      ids.push_back(0);
      texts.push_back(ids);
    }
    std::map<std::vector<int32_t>, float> logprob;  // of a beginning's last token
    std::vector<ScoredTokens> choices;
    for (const auto& ids : texts) {
      ScoredTokens one{.ids = ids, .logprobs = {}};
      for (size_t end = 1; end <= ids.size(); ++end) {
        const auto [at, is_new] = logprob.try_emplace({ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(end)}, 0.0f);
        if (is_new) at->second = -static_cast<float>(random.next_double());
        one.logprobs.push_back(at->second);
      }
      choices.push_back(std::move(one));
    }
    std::vector<int32_t> written;
    do {
      float best = -INFINITY;
      std::vector<int32_t> next;
      for (const auto& [beginning, value] : logprob) {
        if (beginning.size() != written.size() + 1 || !std::equal(written.begin(), written.end(), beginning.begin()) || value <= best) continue;
        best = value;
        next = beginning;
      }
      written = next;
    } while (written.back() != 0);
    EXPECT_EQ(texts[greedy_choice(choices)], written);
  }
}

}  // namespace
}  // namespace umbel::eval
