#include "base/utc.h"

#include <gtest/gtest.h>

#include <ctime>

#include "base/random.h"

namespace umbel {
namespace {

TEST(Utc, WritesAndReadsMoments) {
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(utc_text(1796077800123), "2026-11-30T22:30:00.123Z");
  EXPECT_EQ(utc_text(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(parse_utc("2026-11-30T22:30:00Z").value(), 1796077800);
  EXPECT_EQ(parse_utc("2024-02-29").value(), 1709164800);
  EXPECT_EQ(utc_text(INT64_MAX), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(utc_text(INT64_MIN), "0000-01-01T00:00:00.000Z");
}

TEST(Utc, WhatIsNoMomentIsRefused) {
  for (const char* text : {"", "2023-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "2026-1-1", "2026-01-01 00:00:00Z",
                           "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00+1",
                           "+026-01-01", "2026-01-01T-1:00:00Z", "tomorrow", "2026-01-01T00:00:00Zx"}) {
    EXPECT_FALSE(parse_utc(text).ok()) << text;
  }
}

// The C library's own calendar as the naive model.
TEST(Utc, AgreesWithTheCLibrary) {
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    const int64_t seconds = static_cast<int64_t>(random.next_below(8000000000)) - 2000000000;
    const std::time_t moment = seconds;
    std::tm fields{};
    ::gmtime_r(&moment, &fields);
    char text[40];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &fields);
    EXPECT_EQ(utc_text_seconds(seconds), text);
    EXPECT_EQ(parse_utc(text).value(), seconds);
  }
}

}  // namespace
}  // namespace umbel
