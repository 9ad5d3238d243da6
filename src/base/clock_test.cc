#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/log.h"

namespace umbel {
namespace {

TEST(Clock, TheManualOneMovesOnlyByHand) {
  ManualClock clock;
  const TimePoint begin = clock.now();
  EXPECT_EQ(clock.now(), begin);
  clock.advance(from_seconds(1.5));
  EXPECT_EQ(clock.now() - begin, std::chrono::milliseconds(1500));
  EXPECT_DOUBLE_EQ(to_seconds(clock.now() - begin), 1.5);
}

TEST(Clock, TheRealOneNeverGoesBack) {
  const RealClock clock;
  TimePoint last = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const TimePoint now = clock.now();
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST(Log, LevelsAreCheckedByName) {
  const auto before = spdlog::get_level();
  EXPECT_TRUE(set_log_level("off"));
  EXPECT_EQ(spdlog::get_level(), spdlog::level::off);
  EXPECT_FALSE(set_log_level("loudest"));
  EXPECT_EQ(spdlog::get_level(), spdlog::level::off);
  EXPECT_TRUE(set_log_level("warn"));
  EXPECT_EQ(spdlog::get_level(), spdlog::level::warn);
  spdlog::set_level(before);
}

}  // namespace
}  // namespace umbel
