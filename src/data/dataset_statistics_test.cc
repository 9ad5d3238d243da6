#include "data/dataset_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/data_testing.h"

namespace umbel::data {
namespace {

std::shared_ptr<const Tokenizer> seedling() { return Tokenizer::load(umbel::testing::source_dir_of_rows() / "assets/seedling").value(); }

Example example_of(std::vector<TokenId> tokens, size_t first_trained) {
  Example example{.tokens = std::move(tokens)};
  for (size_t i = 0; i < example.tokens.size(); ++i) example.trained.push_back(i >= first_trained ? 1 : 0);
  return example;
}

TEST(DatasetStatistics, CountsAndLengths) {
  Dataset data;
  data.examples = {example_of({1, 5, 2}, 2), example_of({1, 5, 60, 70, 80, 2}, 2), example_of({1, 5, 2}, 1), example_of({1, 5, 60}, 1),
                   example_of(std::vector<TokenId>(40, 90), 1)};
  data.skipped = {{.line = 6, .reason = "x"}};
  data.rows = 6;
  data.trained_tokens = 1 + 4 + 2 + 2 + 39;
  const DatasetStatistics statistics = describe(data, *seedling(), std::vector<TokenId>{2});
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
  const DatasetStatistics statistics = describe({}, *seedling(), {});
  EXPECT_EQ(statistics.tokens, 0);
  EXPECT_TRUE(statistics.lengths.empty());
  EXPECT_THAT(warnings_of(statistics, {}, *seedling()), ::testing::IsEmpty());
}

TEST(DatasetStatistics, AWarningForEverythingThatTrainsBadly) {
  const auto tokenizer = seedling();
  const TokenId newline = tokenizer->encode("\n", false).value().front();
  Dataset data;
  data.rows = 4;
  data.unread = {{"id", 4}, {"source", 1}};
  data.cut = {{.line = 3, .tokens = 90}};
  // An end of the base's own; the template's, with its line break; none; an empty answer.
  data.examples = {example_of({1, 60, 2}, 1), example_of({1, 70, 0, newline}, 1), example_of({1, 80}, 1), example_of({1, 60, 2}, 2)};
  const DatasetStatistics statistics = describe(data, *tokenizer, std::vector<TokenId>{2});
  EXPECT_EQ(statistics.without_end, 1);
  EXPECT_EQ(statistics.other_ends.at(0), 1);
  using ::testing::HasSubstr;
  EXPECT_THAT(warnings_of(statistics, data, *tokenizer),
              ::testing::ElementsAre(HasSubstr("1 of 4 examples train no end token"), HasSubstr("1 of 4 examples end with <pad>"),
                                     HasSubstr("1 of 4 examples have an empty answer"), HasSubstr("1 of 4 rows are longer"),
                                     HasSubstr("1 of 4 examples stand there before"), HasSubstr("not read: id, source")));
  data.joined = true;  // windows end where they end
  EXPECT_THAT(warnings_of(statistics, data, *tokenizer), ::testing::Not(::testing::Contains(HasSubstr("no end token"))));
}

}  // namespace
}  // namespace umbel::data
