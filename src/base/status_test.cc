#include "base/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace umbel {
namespace {

TEST(Status, OkAndFailure) {
  const Status ok;
  EXPECT_TRUE(ok.ok());
  EXPECT_EQ(ok.to_string(), "ok");
  EXPECT_TRUE(ok.with_context("reading x").ok());
  const Status failure = not_found("no file x");
  EXPECT_FALSE(failure.ok());
  EXPECT_EQ(failure.to_string(), "not found: no file x");
  const Status told = failure.with_context("opening the model");
  EXPECT_EQ(told.code(), Code::kNotFound);
  EXPECT_EQ(told.message(), "opening the model: no file x");
}

TEST(Status, EveryCodeHasItsNameAndHttpStatus) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
    const auto name = code_name(static_cast<Code>(code));
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_NE(name, "unknown");
    const int http = http_status(static_cast<Code>(code));
    if (code == 0) {
      EXPECT_EQ(http, 200);
    } else {
      EXPECT_GE(http, 400) << name;
    }
  }
  EXPECT_EQ(http_status(Code::kNotFound), 404);
  EXPECT_EQ(http_status(Code::kOverloaded), 429);
  EXPECT_EQ(http_status(Code::kUnavailable), 503);
  EXPECT_EQ(http_status(Code::kInvalidArgument), 400);
}

Result<int> half(int value) {
  if (value % 2 != 0) return invalid_argument("odd");
  return value / 2;
}
Result<int> quarter(int value) {
  ASSIGN_OR_RETURN(const int once, half(value));
  ASSIGN_OR_RETURN(const int twice, half(once));
  return twice;
}
Status check_even(int value) {
  RETURN_IF_ERROR(half(value).status());
  return ok_status();
}

TEST(Result, PassesValuesAndFailuresOn) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(check_even(4).ok());
  EXPECT_FALSE(check_even(5).ok());
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> made = std::make_unique<int>(7);
  ASSERT_TRUE(made.ok());
  const std::unique_ptr<int> taken = *std::move(made);
  EXPECT_EQ(*taken, 7);
}

TEST(ResultDeathTest, AskingAFailureForItsValueIsOurMistake) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH((void)quarter(1).value(), "odd");
  EXPECT_DEATH((void)Result<int>{Status()}, "needs a failure");
}

TEST(CheckDeathTest, PrintsPlaceConditionAndSentence) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(CHECK(1 == 2, "numbers are odd today"), "status_test.cc:[0-9]+: numbers are odd today \\(1 == 2\\)");
  CHECK(true, "a true condition does nothing");
}

}  // namespace
}  // namespace umbel
