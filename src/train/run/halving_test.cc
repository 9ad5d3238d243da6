#include "train/run/halving.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace umbel::train {
namespace {

SweepArm arm(size_t job, int64_t step, double score) { return {.job = job, .step = step, .steps = 100, .score = score}; }

TEST(Halving, ALookComesAtItsShareOfEveryArmsOwnSteps) {
  EXPECT_EQ(look_step(0.25, 100), 25);
  EXPECT_EQ(look_step(0.25, 10), 3);
  EXPECT_EQ(look_step(0.0, 10), 1);
  EXPECT_EQ(look_step(0.9, 1), 1);
  std::vector<SweepArm> arms{arm(0, 25, 1), arm(1, 24, 1)};
  EXPECT_FALSE(look_due(arms, 0.25));
  arms[1].step = 25;
  EXPECT_TRUE(look_due(arms, 0.25));
  arms[1].step = 3;
  arms[1].failed = true;  // nobody waits for the dead
  EXPECT_TRUE(look_due(arms, 0.25));
  arms[1] = {.job = 1, .step = 7, .steps = 7, .running = false};  // at its end
  EXPECT_TRUE(look_due(arms, 0.25));
}

TEST(Halving, TheWorseHalfStopsAndTiesGoToTheEarlierJob) {
  EXPECT_EQ(losers({arm(0, 9, 3), arm(1, 9, 1), arm(2, 9, 2), arm(3, 9, 4)}), (std::vector<size_t>{0, 3}));
  EXPECT_EQ(losers({arm(0, 9, 3), arm(1, 9, 1), arm(2, 9, 2)}), (std::vector<size_t>{0}));
  EXPECT_EQ(losers({arm(0, 9, 1), arm(1, 9, 1)}), (std::vector<size_t>{1}));
  EXPECT_EQ(losers({arm(0, 9, NAN), arm(1, 9, 5)}), (std::vector<size_t>{0}));
  EXPECT_TRUE(losers({arm(0, 9, 1)}).empty());
  EXPECT_TRUE(losers({}).empty());
  std::vector<SweepArm> arms{arm(0, 9, 5), arm(1, 9, 1), arm(2, 9, 0.5), arm(3, 9, 2)};
  arms[0].running = false;  // ended and written: ranked, but nothing is left to stop
  arms[2].failed = true;
  arms[3].lost = true;
  EXPECT_TRUE(losers(arms).empty());
  EXPECT_EQ(winner(arms), 1u);
  EXPECT_FALSE(winner({}).has_value());
}

// Looks after looks: the best arm is never stopped, and the field shrinks to half each time.
TEST(Halving, TheBestArmSurvivesAnyNumberOfLooks) {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<SweepArm> arms;
    const size_t count = 1 + random.next_below(20);
    for (size_t i = 0; i < count; ++i) arms.push_back(arm(i, 50, random.next_double()));
    const size_t best = *winner(arms);
    for (size_t left = count; left > 1; left -= left / 2) {
      const auto out = losers(arms);
      ASSERT_EQ(out.size(), left / 2);
      for (const size_t job : out) {
        ASSERT_NE(job, best);
        ASSERT_GE(arms[job].score, arms[best].score);
        arms[job].lost = true;
        arms[job].running = false;
      }
      ASSERT_EQ(*winner(arms), best);
    }
  }
}

TEST(Halving, OfEqualScoresTheTieDecidesAndThenTheOrder) {
  std::vector<SweepArm> arms = {{.job = 0, .score = 1, .tie = 4.7}, {.job = 1, .score = 1, .tie = 3.8}, {.job = 2, .score = 1, .tie = 3.8}};
  EXPECT_EQ(winner(arms), 1u);
  arms[0].score = 0.5;
  EXPECT_EQ(winner(arms), 0u);
}

}  // namespace
}  // namespace umbel::train
