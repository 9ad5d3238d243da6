#include "models/logit_drift.h"

#include <gtest/gtest.h>

#include "models/forward_testing.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

TEST(LogitDriftTest, FiguresAreThoseOfTheDefinition) {
  const std::vector<float> first = {0, 0, 1, 2}, second = {0, 0.5f, 3, 2};
  LogitDrift drift;
  drift.add(first, first, 2);
  EXPECT_EQ(drift.largest(), 0);
  EXPECT_EQ(drift.divergence(), 0);
  EXPECT_EQ(drift.top1_agreement(), 1);
  drift.add(first, second, 2);
  EXPECT_EQ(drift.rows(), 4);
  EXPECT_EQ(drift.largest(), 2);
  EXPECT_DOUBLE_EQ(drift.mean(), 2.5 / 8);
  EXPECT_EQ(drift.top1_agreement(), 0.5);
  // KL of (1/2, 1/2) from (1/(1+e^.5), ...), and of the second row, over four rows.
  const auto kl = [](double p, double q) { return p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q)); };
  const double p2 = 1 / (1 + std::exp(1.0)), q2 = 1 / (1 + std::exp(-1.0));
  EXPECT_NEAR(drift.divergence(), (kl(0.5, 1 / (1 + std::exp(0.5))) + kl(p2, q2)) / 4, 1e-9);
}

TEST(LogitDriftTest, SequenceLogitsAreThoseOfTheChunkedForward) {
  const kernels::Choice choice = testing::test_choice();
  const auto model = load_model(testing::source_dir() / "assets/seedling", {.dtype = "f32", .choice = choice}).value();
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 37; ++i) tokens.push_back(1 + (i * 97) % 1000);
  ThreadPool pool(2);
  const std::vector<float> whole = sequence_logits(*model, choice, pool, tokens, nullptr);
  testing::ForwardRunner runner(model, choice);
  EXPECT_EQ(whole, runner.run({.tokens = tokens}, 5));
}

}  // namespace
}  // namespace umbel
