// Figures of data sets against numpy's and gzip's.
#include <gtest/gtest.h>

#include "eval/measure/heuristics.h"

namespace umbel::eval {
namespace {

double figure(const Figures& figures, const std::string& name) {
  for (const auto& [one, value] : figures) {
    if (one == name) return value;
  }
  ADD_FAILURE() << "no figure " << name;
  return -1;
}

TEST(DataMeasure, SpreadsAreNumpys) {
  const Spread spread = spread_of({5, 1, 4, 2, 10});
  EXPECT_DOUBLE_EQ(spread.mean, 4.4);
  EXPECT_DOUBLE_EQ(spread.p95, 9);
  EXPECT_NEAR(spread.std, 3.1368774282716245, 1e-12);
  EXPECT_EQ(spread_of({}).p95, 0);
  EXPECT_EQ(spread_of({7}).p95, 7);
}

TEST(DataMeasure, CompressibilityIsGzips) {
  EXPECT_NEAR(compressed_share("hello hello hello hello hello"), 29.0 / 29, 1e-12);
  EXPECT_NEAR(compressed_share("x"), 21, 1e-12);
  std::string fox;
  for (int i = 0; i < 40; ++i) fox += "The quick brown fox. ";
  EXPECT_NEAR(compressed_share(fox), 50.0 / 840, 1e-12);
  EXPECT_LT(compressed_share(std::string(5 << 20, 'a')), 0.01);  // in several pieces
}

TEST(DataMeasure, FourteenFiguresOfTheRows) {
  DataMeasure measure;
  measure.add("a b c d", "c d", {.input = 4, .output = 2, .example = 6});
  measure.add("e f", "g", {.input = 2, .output = 1, .example = 4});
  measure.add("e f", "g", {.input = 2, .output = 1, .example = 4});
  measure.add("", "", {});
  const Figures figures = measure.heuristics();
  EXPECT_EQ(figures.size(), 14u);
  EXPECT_DOUBLE_EQ(figure(figures, "input_length_mean"), 2);
  EXPECT_DOUBLE_EQ(figure(figures, "example_length_mean"), 3.5);
  EXPECT_NEAR(figure(figures, "io_rougeL_mean"), 2.0 / 3 / 4, 1e-12);
  EXPECT_EQ(figure(figures, "train_examples"), 4);
  EXPECT_GT(figure(figures, "compressibility_mean"), 1);  // gzip's head alone is longer than these
  const Figures extras = measure.extras();
  EXPECT_DOUBLE_EQ(figure(extras, "duplicates"), 0.25);
  EXPECT_DOUBLE_EQ(figure(extras, "distinct_answers"), 0.75);
  EXPECT_DOUBLE_EQ(figure(extras, "majority_answer"), 0.5);
  EXPECT_DOUBLE_EQ(figure(extras, "answers_in_prompt"), 0.25);
  EXPECT_EQ(DataMeasure().heuristics().size(), 14u);
}

}  // namespace
}  // namespace umbel::eval
