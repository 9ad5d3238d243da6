#include "serve/keys/rate_limit.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace umbel::serve {
namespace {

TimePoint at(double seconds) { return TimePoint(from_seconds(1000 + seconds)); }

TEST(RateLimit, LetsAMinutesUnitsInAtOnceAndThenAsTimeGoes) {
  RateLimit limit;
  EXPECT_TRUE(limit.take(1000000, at(0)));  // unlimited
  limit.set_limit(60, at(0));
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(limit.take(1, at(0))) << i;
  EXPECT_FALSE(limit.take(1, at(0)));
  EXPECT_EQ(limit.remaining(at(0)), 0);
  EXPECT_EQ(limit.wait(1, at(0)), from_seconds(1));
  EXPECT_EQ(limit.reset(at(0)), from_seconds(60));
  EXPECT_FALSE(limit.take(1, at(0.9)));
  EXPECT_TRUE(limit.take(1, at(1)));
  EXPECT_EQ(limit.remaining(at(11)), 10);
}

TEST(RateLimit, AnEstimateIsSettledWithWhatItWas) {
  RateLimit limit;
  limit.set_limit(100, at(0));
  const auto taken = limit.take(80, at(0));
  ASSERT_TRUE(taken);
  EXPECT_FALSE(limit.take(30, at(0)));
  limit.settle(*taken, 10, at(0));
  EXPECT_EQ(limit.remaining(at(0)), 90);
  const auto more = limit.take(90, at(0));
  ASSERT_TRUE(more);
  limit.settle(*more, 150, at(0));  // 60 more than there were: a debt
  EXPECT_EQ(limit.remaining(at(0)), 0);
  EXPECT_EQ(limit.wait(10, at(0)), from_seconds(42));  // (60 + 10) / 100 minutes
}

TEST(RateLimit, AnEstimateBeyondTheMinuteWaitsForAFullBucketNotForEver) {
  RateLimit limit;
  limit.set_limit(100, at(0));
  ASSERT_TRUE(limit.take(1, at(0)));
  EXPECT_FALSE(limit.take(5000, at(0)));
  EXPECT_EQ(limit.wait(5000, at(0)), from_seconds(0.6));
  const auto taken = limit.take(5000, at(0.6));
  ASSERT_TRUE(taken);
  limit.settle(*taken, 20, at(0.6));
  EXPECT_EQ(limit.remaining(at(0.6)), 80);
}

TEST(RateLimit, ANewLimitKeepsWhatWasSpent) {
  RateLimit limit;
  limit.set_limit(10, at(0));
  ASSERT_TRUE(limit.take(10, at(0)));
  limit.set_limit(100, at(0));
  EXPECT_EQ(limit.remaining(at(0)), 90);
  limit.set_limit(5, at(0));
  EXPECT_EQ(limit.remaining(at(0)), 0);
  EXPECT_EQ(limit.wait(1, at(0)), from_seconds(6 * 12));
  limit.set_limit(std::nullopt, at(0));
  EXPECT_TRUE(limit.take(1000, at(0)));
}

TEST(RateLimit, TimeThatStandsStillOrGoesBackGivesNothing) {
  RateLimit limit;
  limit.set_limit(60, at(100));
  ASSERT_TRUE(limit.take(60, at(100)));
  EXPECT_FALSE(limit.take(1, at(50)));
  EXPECT_FALSE(limit.take(1, at(100)));
  EXPECT_TRUE(limit.take(1, at(101)));
}

// The naive model: whole numbers of 1/60000 units, one millisecond after another.
TEST(RateLimit, AgreesWithANaiveModelThatCountsMilliseconds) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const int64_t per_minute = 1 + static_cast<int64_t>(random.next_below(500));
    RateLimit limit;
    limit.set_limit(per_minute, at(0));
    constexpr int64_t kUnit = 60000;
    int64_t level = per_minute * kUnit, now_ms = 0;
    struct Open {
      RateLimit::Taken taken;
      int64_t units;
    };
    std::vector<Open> open;
    for (int step = 0; step < 500; ++step) {
      for (int64_t ms = static_cast<int64_t>(random.next_below(400)); ms > 0; --ms, ++now_ms)
        level = std::min(per_minute * kUnit, level + per_minute);
      const TimePoint now = TimePoint(from_seconds(1000) + std::chrono::milliseconds(now_ms));
      if (!open.empty() && random.next_below(2) == 0) {
        const int64_t actual = static_cast<int64_t>(random.next_below(60));
        limit.settle(open.back().taken, actual, now);
        level = std::min(per_minute * kUnit, level + (open.back().units - actual) * kUnit);
        open.pop_back();
      }
      const int64_t estimate = static_cast<int64_t>(random.next_below(60));
      const int64_t units = std::min(estimate, per_minute);
      const auto taken = limit.take(estimate, now);
      ASSERT_EQ(taken.has_value(), level >= units * kUnit) << "seed " << seed << " step " << step;
      if (taken) {
        level -= units * kUnit;
        open.push_back({*taken, units});
      }
      ASSERT_EQ(limit.remaining(now), std::max<int64_t>(level, 0) / kUnit) << "seed " << seed << " step " << step;
      if (!taken) {
        const Duration wait = limit.wait(estimate, now);
        RateLimit later = limit;
        EXPECT_TRUE(later.take(estimate, now + wait + Duration(1000)));
        RateLimit sooner = limit;
        EXPECT_FALSE(sooner.take(estimate, now + wait / 2));
      }
    }
  }
}

TEST(RateLimit, DurationsAreWrittenAsOpenAiWritesThem) {
  EXPECT_EQ(duration_text(Duration{}), "0s");
  EXPECT_EQ(duration_text(from_seconds(0.02)), "20ms");
  EXPECT_EQ(duration_text(Duration(1)), "1ms");
  EXPECT_EQ(duration_text(from_seconds(1.5)), "1.5s");
  EXPECT_EQ(duration_text(from_seconds(360)), "6m0s");
  EXPECT_EQ(duration_text(from_seconds(3602.25)), "1h0m2.25s");
  EXPECT_EQ(duration_text(from_seconds(-3)), "0s");
}

}  // namespace
}  // namespace umbel::serve
