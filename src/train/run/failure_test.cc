#include "train/run/failure.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace umbel::train {
namespace {

StepReport step(int64_t at, double loss, double norm = 1.0) { return {.job = "j", .step = at, .steps = 100, .loss = loss, .gradient_norm = norm}; }

EvalEvent look(int64_t at, double loss, double same_answer = 0.1, double same_reference = 0.1) {
  return {.job = "j", .step = at, .rows = 20, .report = {.loss = loss, .same_answer = same_answer, .same_reference = same_reference},
          .base_loss = 2.0};
}

bool says(const Status& status, const std::string& word) { return !status.ok() && status.message().find(word) != std::string::npos; }

TEST(FailureDetector, ThreeSpikesInARowAreAFailureTwoAreNot) {
  FailureDetector detector("j", {});
  int64_t at = 0;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(detector.on_step(step(++at, 2.0)).ok());
  ASSERT_TRUE(detector.on_step(step(++at, 9.0)).ok());
  ASSERT_TRUE(detector.on_step(step(++at, 9.0)).ok());
  ASSERT_TRUE(detector.on_step(step(++at, 2.0)).ok());  // back to normal: counting begins anew
  ASSERT_TRUE(detector.on_step(step(++at, 9.0)).ok());
  ASSERT_TRUE(detector.on_step(step(++at, 9.0)).ok());
  const Status verdict = detector.on_step(step(++at, 9.0));
  EXPECT_TRUE(says(verdict, "jumped")) << verdict.message();
  EXPECT_TRUE(says(verdict, "step 16") && says(verdict, "j: ")) << verdict.message();
}

TEST(FailureDetector, SmallLossesOfALearnedTaskMayJumpAndALargeFactorIsOptional) {
  FailureDetector learned("j", {});
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(learned.on_step(step(i + 1, 3.0)).ok());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(learned.on_step(step(i + 21, 0.01)).ok());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(learned.on_step(step(i + 41, 0.5)).ok());
  FailureDetector off("j", {.spike = 0});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(off.on_step(step(i + 1, 1.0)).ok());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(off.on_step(step(i + 11, 50.0)).ok());
}

TEST(FailureDetector, AGradientThatStaysExactlyZero) {
  FailureDetector detector("j", {});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(detector.on_step(step(i + 1, 2.0, 0.0)).ok());
  ASSERT_TRUE(detector.on_step(step(5, 2.0, 1e-30)).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(detector.on_step(step(i + 6, 2.0, 0.0)).ok());
  EXPECT_TRUE(says(detector.on_step(step(10, 2.0, 0.0)), "exactly 0 for 5 steps"));
}

TEST(FailureDetector, WorseThanTheBaseInTheSecondHalfOrAtTheEnd) {
  FailureDetector detector("j", {});
  for (const int64_t at : {10, 20, 30, 40}) EXPECT_TRUE(detector.on_eval(look(at, 5.0), 100).ok()) << "early looks are not judged";
  EXPECT_TRUE(detector.on_eval(look(50, 5.0), 100).ok());
  EXPECT_TRUE(detector.on_eval(look(60, 1.9), 100).ok());
  EXPECT_TRUE(detector.on_eval(look(70, 2.1), 100).ok());
  EXPECT_TRUE(detector.on_eval(look(80, 2.1), 100).ok());
  EXPECT_TRUE(says(detector.on_eval(look(90, 2.1), 100), "worse than the base 3 times"));
  EXPECT_TRUE(says(detector.at_end(look(100, 2.5), look(80, 2.1)), "ends worse than the base"));
  EXPECT_TRUE(detector.at_end(look(100, 2.5), look(80, 1.9)).ok()) << "the best one is written, and that is better";
  FailureDetector told("j", {.worse_than_base_fails = false});
  for (const int64_t at : {60, 70, 80, 90, 100}) EXPECT_TRUE(told.on_eval(look(at, 5.0), 100).ok());
  EXPECT_TRUE(told.at_end(look(100, 5.0), look(100, 5.0)).ok());
}

TEST(FailureDetector, CollapsedMeansOneAnswerWhereTheReferencesDiffer) {
  FailureDetector detector("j", {});
  EXPECT_TRUE(detector.on_eval(look(0, 2.0, 1.0, 0.1), 100).ok()) << "the base may answer as it likes";
  EXPECT_TRUE(detector.on_eval(look(20, 1.5, 1.0, 0.1), 100).ok());
  EXPECT_TRUE(detector.on_eval(look(60, 1.5, 1.0, 0.1), 100).ok());
  EXPECT_TRUE(says(detector.on_eval(look(70, 1.5, 0.95, 0.1), 100), "collapsed"));
  EXPECT_TRUE(says(detector.at_end(look(100, 1.5, 1.0, 0.5), look(100, 1.5)), "collapsed"));
  EXPECT_TRUE(detector.at_end(look(100, 1.5, 0.94, 0.1), look(100, 1.5)).ok());
  EXPECT_TRUE(detector.at_end(look(100, 1.5, 1.0, 0.9), look(100, 1.5)).ok()) << "the references are nearly all the same";
  EvalEvent few = look(100, 1.5, 1.0, 0.25);
  few.rows = 4;
  EXPECT_TRUE(detector.at_end(few, look(100, 1.5)).ok()) << "too few rows to judge";
}

// A detector that is saved and restored between any two reports gives the verdicts of one that never was.
TEST(FailureDetector, ItsStateIsAllOfIt) {
  Random random(11);
  for (int round = 0; round < 100; ++round) {
    const JobLife life{.spike = 1.5};
    FailureDetector whole("j", life);
    auto pieces = std::make_unique<FailureDetector>("j", life);
    for (int64_t at = 1; at <= 60; ++at) {
      const StepReport report = step(at, random.next_double() * 4, random.next_below(2) == 0 ? 0.0 : 1.0);
      ASSERT_EQ(whole.on_step(report).message(), pieces->on_step(report).message());
      if (random.next_below(3) == 0) {
        const EvalEvent event = look(at, 1.5 + random.next_double(), random.next_below(2) == 0 ? 1.0 : 0.5);
        ASSERT_EQ(whole.on_eval(event, 60).message(), pieces->on_eval(event, 60).message());
      }
      if (random.next_below(4) != 0) continue;
      auto next = std::make_unique<FailureDetector>("j", life);
      ASSERT_TRUE(next->restore(parse_json(pieces->to_json().dump(), "state").value()).ok());
      pieces = std::move(next);
    }
  }
  FailureDetector detector("j", {});
  for (const char* bad : {"{}", "[]", "{\"ordinary\": [\"x\"]}", "{\"ordinary\": []}"}) {
    EXPECT_EQ(detector.restore(parse_json(bad, "state").value()).code() == Code::kOk, false) << bad;
  }
}

// Sure of its mistakes, and right more often: that is what was asked for.
TEST(FailureDetector, ByExactMatchALargerLossIsNoFailureAndFewerRightRowsAre) {
  const FailureDetector detector("a", {.best_by = BestBy::kExactMatch});
  const auto look = [](double loss, double exact) {
    return EvalEvent{.job = "a", .step = 10, .rows = 20, .report = {.loss = loss, .tokens = 1, .exact_rows = exact}, .best = false, .base_loss = 2.0, .base_exact_rows = 0.3};
  };
  EXPECT_TRUE(detector.at_end(look(2.5, 0.4), look(2.5, 0.4)).ok());
  EXPECT_NE(detector.at_end(look(1.5, 0.2), look(1.5, 0.2)).message().find("20 % of the rows right against 30 %"), std::string::npos);
  EXPECT_FALSE(detector.at_end(look(2.5, 0.3), look(2.5, 0.3)).ok()) << "of equal ones the loss decides";
}

}  // namespace
}  // namespace umbel::train
