#include "train/dataset_statistics.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

Example example_of(std::vector<TokenId> tokens, size_t first_trained) {
  Example example{.tokens = std::move(tokens)};
  for (size_t i = 0; i < example.tokens.size(); ++i) example.trained.push_back(i >= first_trained ? 1 : 0);
  return example;
}

TEST(DatasetStatistics, CountsAndLengths) {
  Dataset data;
  data.examples = {example_of({1, 5, 2}, 2), example_of({1, 5, 6, 7, 8, 2}, 2), example_of({1, 5, 2}, 1), example_of({1, 5, 6}, 1),
                   example_of(std::vector<TokenId>(40, 9), 1)};
  data.skipped = {{.line = 6, .reason = "x"}};
  data.rows = 6;
  data.trained_tokens = 1 + 4 + 2 + 2 + 39;
  const DatasetStatistics statistics = describe(data, 2);
  EXPECT_EQ(statistics.rows, 6);
  EXPECT_EQ(statistics.examples, 5);
  EXPECT_EQ(statistics.units, 5);
  EXPECT_EQ(statistics.tokens, 55);
  EXPECT_EQ(statistics.shortest, 3);
  EXPECT_EQ(statistics.median, 3);
  EXPECT_EQ(statistics.p95, 6);
  EXPECT_EQ(statistics.longest, 40);
  EXPECT_EQ(statistics.duplicates, 1);
  EXPECT_EQ(statistics.without_end, 2);
  EXPECT_EQ(statistics.only_end, 1);
  ASSERT_EQ(statistics.lengths.size(), 5u);  // 2-3, 4-7, 8-15, 16-31, 32-63
  EXPECT_EQ(statistics.lengths[0].from, 2);
  EXPECT_EQ(statistics.lengths[0].to, 3);
  EXPECT_EQ(statistics.lengths[0].examples, 3);
  EXPECT_EQ(statistics.lengths[1].examples, 1);
  EXPECT_EQ(statistics.lengths[2].examples, 0);
  EXPECT_EQ(statistics.lengths[4].examples, 1);
}

TEST(DatasetStatistics, NothingGivesZeros) {
  const DatasetStatistics statistics = describe({}, -1);
  EXPECT_EQ(statistics.tokens, 0);
  EXPECT_TRUE(statistics.lengths.empty());
}

}  // namespace
}  // namespace umbel
