#include "train/optim/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace umbel::train {
namespace {

TEST(LearningRate, CosineWithWarmUpAndFloorIsTheStatedFormula) {
  const Schedule schedule{.kind = ScheduleKind::kCosine, .steps = 906, .warmup_steps = 45, .floor = 0.05};
  for (int64_t k = 0; k < 906; ++k) {
    const double expected = std::min(1.0, (k + 1) / 45.0) * (0.05 + 0.95 * 0.5 * (1 + std::cos(M_PI * k / 906.0)));
    EXPECT_NEAR(schedule_factor(schedule, k), expected, 1e-12) << k;
  }
}

TEST(LearningRate, RestartsComeBackToThePeak) {
  const Schedule schedule{.kind = ScheduleKind::kCosineRestarts, .steps = 100, .cycles = 4};
  for (int64_t k : {0, 25, 50, 75}) EXPECT_NEAR(schedule_factor(schedule, k), 1.0, 1e-12);
  EXPECT_LT(schedule_factor(schedule, 24), 0.01);
}

TEST(LearningRate, LinearAndConstant) {
  EXPECT_NEAR(schedule_factor({.kind = ScheduleKind::kLinear, .steps = 10}, 5), 0.5, 1e-12);
  EXPECT_NEAR(schedule_factor({.kind = ScheduleKind::kConstant, .steps = 10, .floor = 0.3}, 9), 1.0, 1e-12);
  EXPECT_FALSE(parse_schedule("step").ok());
  EXPECT_EQ(*parse_schedule("cosine_with_restarts"), ScheduleKind::kCosineRestarts);
}

}  // namespace
}  // namespace umbel::train
