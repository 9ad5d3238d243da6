#include "train/report/run_pace.h"

#include <gtest/gtest.h>

namespace umbel::train {
namespace {

TEST(Pace, SecondsForReaders) {
  EXPECT_EQ(format_seconds(7.4), "7s");
  EXPECT_EQ(format_seconds(80), "1m20s");
  EXPECT_EQ(format_seconds(3 * 3600 + 300), "3h05m");
  EXPECT_EQ(format_seconds(2 * 86400 + 3600), "2d01h");
  EXPECT_EQ(format_seconds(-1), "0s");
}

TEST(Pace, TheFirstStepOnlyCountsWhileItIsAlone) {
  Pace pace;
  EXPECT_EQ(pace.left_seconds({.train_tokens = 100}), 0.0);
  pace.add_step(100, 10.0);
  EXPECT_DOUBLE_EQ(pace.tokens_per_second(), 10.0);
  EXPECT_DOUBLE_EQ(pace.left_seconds({.train_tokens = 100}), 10.0);
  pace.add_step(100, 1.0);
  pace.add_step(300, 3.0);
  EXPECT_DOUBLE_EQ(pace.tokens_per_second(), 100.0);
  EXPECT_DOUBLE_EQ(pace.left_seconds({.train_tokens = 1000}), 10.0);
}

TEST(Pace, ALookCostsAThirdUntilOneWasTimed) {
  Pace pace;
  pace.add_step(100, 1.0);
  EXPECT_NEAR(pace.left_seconds({.train_tokens = 0, .eval_tokens = 300}), 1.0, 1e-12);
  pace.add_eval(100, 0.5);
  EXPECT_NEAR(pace.left_seconds({.train_tokens = 200, .eval_tokens = 300}), 2.0 + 1.5, 1e-12);
  EXPECT_EQ(pace.left_seconds({.train_tokens = -5, .eval_tokens = -5}), 0.0);
}

}  // namespace
}  // namespace umbel::train
