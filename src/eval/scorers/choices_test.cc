#include "eval/scorers/choices.h"

#include <gtest/gtest.h>

#include "eval/scorers/registry.h"

namespace umbel::eval {
namespace {

double score(const char* scorer, const OrderedJson& prediction, const OrderedJson& reference) {
  const std::vector<ScoredRow> rows = {{.prediction = prediction, .reference = reference, .place = "row"}};
  return make_scorer(scorer, nullptr).value()->score(rows).value().mean;
}

TEST(Choices, LengthsAreCharactersWithoutTheSeparator) {
  // -4 over 2 characters is less likely each than -5 over 5; "ü" is one character of two bytes.
  const OrderedJson answer = {{"choices", {"no", "maybe"}}, {"log_likelihoods", {-4.0, -5.0}}};
  EXPECT_EQ(score("acc", answer, 0), 1.0);
  EXPECT_EQ(score("acc_norm", answer, 0), 0.0);
  EXPECT_EQ(score("acc_norm", answer, "maybe"), 1.0);
  const OrderedJson umlauts = {{"choices", {"üü", "abc"}}, {"log_likelihoods", {-4.0, -5.9}}};
  EXPECT_EQ(score("acc_norm", umlauts, 1), 1.0);  // -2 and -1.97; by bytes it were -1 and -1.97
}

TEST(Choices, OfEqualOnesTheFirstIsTaken) {
  const OrderedJson answer = {{"choices", {"a", "b"}}, {"log_likelihoods", {-1, -1}}};
  EXPECT_EQ(score("acc", answer, 0), 1.0);
  EXPECT_EQ(score("acc", answer, 1), 0.0);
}

TEST(Choices, NoAnswerIsWrongAndAReferenceOfNoUseIsNamed) {
  const OrderedJson answer = {{"choices", {"a", "b"}}, {"log_likelihoods", {-1, -2}}};
  EXPECT_EQ(score("acc", nullptr, 0), 0.0);
  EXPECT_EQ(score("acc", "a", 0), 0.0);
  EXPECT_EQ(score("acc", OrderedJson{{"choices", {"a"}}, {"log_likelihoods", {-1, -2}}}, 0), 0.0);
  const std::vector<ScoredRow> rows = {{.prediction = answer, .reference = 2, .place = "rows.jsonl:7"}};
  const auto refused = make_scorer("acc", nullptr).value()->score(rows);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("rows.jsonl:7"), std::string::npos) << refused.status().message();
}

TEST(Choices, TheSummarySaysWhatWasTaken) {
  const OrderedJson answer = {{"choices", {"a", "b", "c"}}, {"log_likelihoods", {-3, -2, -2.5}}};
  const std::vector<ScoredRow> rows = {{.prediction = answer, .reference = 1}, {.prediction = answer, .reference = 0}};
  const Scores scores = make_scorer("acc", nullptr).value()->score(rows).value();
  EXPECT_EQ(scores.summary["taken"], (OrderedJson{0, 2}));
  EXPECT_EQ(scores.scores, (std::vector<double>{1, 0}));
}

}  // namespace
}  // namespace umbel::eval
