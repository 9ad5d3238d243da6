#include "text/template_record.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

using Outcome = TemplateRecord::Outcome;

constexpr Duration kCheap = std::chrono::milliseconds(1);
constexpr Duration kSlow = std::chrono::milliseconds(150);
constexpr Duration kAwful = std::chrono::milliseconds(400);
const TimePoint kNow{};

TEST(TemplateRecord, OneGoodRenderingIsTrustedAtFirst) {
  TemplateRecord record({});
  EXPECT_FALSE(record.trusted());
  record.note(Outcome::kFailed, kCheap, kNow);
  EXPECT_FALSE(record.trusted());
  record.note(Outcome::kRendered, kCheap, kNow);
  EXPECT_TRUE(record.trusted());
  EXPECT_EQ(record.pause(kNow), Duration::zero());
}

TEST(TemplateRecord, SlowOnesLoseTrustAndAwfulOnesPause) {
  TemplateRecord record({});
  record.note(Outcome::kRendered, kCheap, kNow);
  record.note(Outcome::kRendered, kSlow, kNow);
  EXPECT_FALSE(record.trusted());
  EXPECT_EQ(record.pause(kNow), Duration::zero());
  record.note(Outcome::kRendered, kCheap, kNow);
  EXPECT_TRUE(record.trusted());
  record.note(Outcome::kFailed, kAwful, kNow);
  EXPECT_FALSE(record.trusted());
  EXPECT_EQ(record.pause(kNow), from_seconds(1));
  EXPECT_EQ(record.pause(kNow + from_seconds(0.25)), from_seconds(0.75));
  EXPECT_EQ(record.pause(kNow + from_seconds(2)), Duration::zero());
}

TEST(TemplateRecord, PausesDoubleUpToTheirLimit) {
  TemplateRecord record({});
  TimePoint now = kNow;
  Duration before{};
  for (int death = 0; death < 100; ++death) {
    record.note(Outcome::kDied, {}, now);
    const Duration pause = record.pause(now);
    EXPECT_EQ(pause, std::min(death == 0 ? from_seconds(1) : 2 * before, from_seconds(60)));
    before = pause;
    now += pause;
  }
}

TEST(TemplateRecord, ItTakesManyGoodOnesToClearAName) {
  TemplateRecord record({.trusted_after = 10});
  record.note(Outcome::kRendered, kCheap, kNow);
  record.note(Outcome::kDied, {}, kNow);
  for (int good = 0; good < 9; ++good) {
    record.note(Outcome::kRendered, kCheap, kNow);
    EXPECT_FALSE(record.trusted());
  }
  record.note(Outcome::kRendered, kCheap, kNow);
  EXPECT_TRUE(record.trusted());
  record.note(Outcome::kDied, {}, kNow);
  EXPECT_EQ(record.pause(kNow), from_seconds(1)) << "its name was clear";
  EXPECT_FALSE(record.trusted());
}

}  // namespace
}  // namespace umbel
