#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/log_format.h"
#include "base/printable.h"

namespace umbel {
namespace {

std::string logged(const std::string& name) {
  init_log();
  ::testing::internal::CaptureStderr();
  LOG_WARN("adapter {}: cannot be used", name);
  return ::testing::internal::GetCapturedStderr();
}

TEST(Log, ARecordIsOneLineWhateverANameHolds) {
  const std::string text = logged("x\n2026-01-01T00:00:00.000 I fake \x1b[31m\xc2\x9b" "32m\xe2\x80\xae");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_NE(text.find("x\\n2026"), std::string::npos) << text;
  EXPECT_NE(text.find("\\x1b[31m\\u{9b}32m\\u{202e}: cannot be used"), std::string::npos) << text;
}

TEST(Log, ARecordIsBounded) {
  constexpr size_t kHead = 64;  // time and level
  const std::string text = logged(std::string(10'000'000, 'n'));
  EXPECT_LE(text.size(), kPrintableLineMax + kHead);
  EXPECT_NE(text.find(": cannot be used"), std::string::npos);
}

std::string logged_as(const LogFormat& format, const std::string& name) {
  init_log();
  set_log_format(format);
  ::testing::internal::CaptureStderr();
  LOG_WARN("adapter {}: cannot be used", name);
  set_log_format({});
  return ::testing::internal::GetCapturedStderr();
}

TEST(Log, AJsonRecordIsOneObjectWhateverANameHolds) {
  const std::string text = logged_as({.shape = LogFormat::Shape::kJson, .zone = LogFormat::Zone::kUtc}, "x\"}\n{\\\xff%v\xc3\xa9");
  EXPECT_THAT(text, ::testing::MatchesRegex(R"(\{"time":"[0-9-]+T[0-9:.]+Z","level":"warning","message":".*"\})" "\n"));
  EXPECT_NE(text.find(R"("message":"adapter x\"}\\n{\\\\xff%v)" "\xc3\xa9" R"(: cannot be used"})"), std::string::npos) << text;
}

TEST(Log, TimesOfJsonRecordsSayTheirZone) {
  const std::string text = logged_as({.shape = LogFormat::Shape::kJson}, "x");
  EXPECT_THAT(text, ::testing::HasSubstr(R"(,"level":"warning","message":"adapter x: cannot be used"})"));
  EXPECT_THAT(text, ::testing::MatchesRegex(R"(\{"time":"[0-9-]+T[0-9:.]+[+-][0-9]+:[0-9]+",.*)" "\n"));
}

TEST(Log, TextLinesAreInUtcWhenWanted) {
  EXPECT_THAT(logged_as({.zone = LogFormat::Zone::kUtc}, "x"), ::testing::MatchesRegex("[0-9-]+T[0-9:.]+Z .*W.* adapter x: cannot be used\n"));
}

}  // namespace
}  // namespace umbel
