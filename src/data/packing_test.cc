#include "data/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace umbel::data {
namespace {

Example example_of(size_t length, int64_t line, TokenId first = 10) {
  Example example{.line = line};
  for (size_t i = 0; i < length; ++i) {
    example.tokens.push_back(first + static_cast<TokenId>(i));
    example.trained.push_back(i > 0 ? 1 : 0);
  }
  return example;
}

Dataset dataset_of(const std::vector<size_t>& lengths) {
  Dataset data;
  for (const size_t length : lengths) {
    data.examples.push_back(example_of(length, static_cast<int64_t>(data.examples.size()) + 1));
    data.trained_tokens += static_cast<int64_t>(length) - 1;
  }
  return data;
}

std::vector<std::vector<int64_t>> lines_of_units(const Dataset& data) {
  std::vector<std::vector<int64_t>> units;
  for (size_t i = 0; i < data.units(); ++i) {
    units.emplace_back();
    for (const Example& example : data.unit(i)) units.back().push_back(example.line);
  }
  return units;
}

TEST(Packing, WithoutPacksAnExampleIsAUnit) {
  const Dataset data = dataset_of({3, 4});
  EXPECT_EQ(lines_of_units(data), (std::vector<std::vector<int64_t>>{{1}, {2}}));
}

TEST(Packing, BestFitKeepsTheFilesOrder) {
  Dataset data = dataset_of({4, 9, 7, 3, 5});  // 3, 8, 6, 2, 4 computed tokens in units of 10
  pack_examples(data, 11);
  // By length: 8 | 6 | 4 beside 6 | 3 alone, for nothing is left beside 8 but 2 | 2 beside 8.
  EXPECT_EQ(lines_of_units(data), (std::vector<std::vector<int64_t>>{{1}, {2, 4}, {3, 5}}));
}

TEST(Packing, NothingIsLostNoUnitOverflowsAndBestFitIsTight) {
  Random random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<size_t> lengths;
    for (uint64_t i = 1 + random.next_below(300); i > 0; --i) lengths.push_back(2 + random.next_below(63));
    Dataset data = dataset_of(lengths);
    const int64_t room = 63;
    pack_examples(data, room + 1);
    std::vector<int64_t> seen;
    size_t half_empty = 0;
    for (size_t u = 0; u < data.units(); ++u) {
      int64_t sum = 0;
      for (const Example& example : data.unit(u)) {
        sum += static_cast<int64_t>(example.tokens.size()) - 1;
        seen.push_back(example.line);
      }
      EXPECT_LE(sum, room);
      half_empty += 2 * sum <= room;
    }
    EXPECT_LE(half_empty, 1u);  // two half-empty units would have been one
    std::sort(seen.begin(), seen.end());
    std::vector<int64_t> all(lengths.size());
    std::iota(all.begin(), all.end(), 1);
    EXPECT_EQ(seen, all);
  }
}

TEST(Joining, EveryTokenIsPredictedOnce) {
  for (const size_t length : {2, 3, 7, 16, 1000}) {
    Dataset data;
    std::vector<TokenId> stream;
    for (int text = 0; text < 20; ++text) {
      data.examples.push_back(example_of(1 + static_cast<size_t>(text * 7 % 23), text + 1, text * 100));
      const auto& tokens = data.examples.back().tokens;
      stream.insert(stream.end(), tokens.begin(), tokens.end());
    }
    join_examples(data, static_cast<int64_t>(length));
    std::vector<TokenId> inputs, labels;
    for (const Example& window : data.examples) {
      ASSERT_LE(window.tokens.size(), length);
      EXPECT_TRUE(window.tokens.size() == length || &window == &data.examples.back());
      EXPECT_EQ(window.trained[0], 0);
      for (size_t i = 1; i < window.tokens.size(); ++i) {
        EXPECT_EQ(window.trained[i], 1);
        inputs.push_back(window.tokens[i - 1]);
        labels.push_back(window.tokens[i]);
      }
    }
    EXPECT_EQ(inputs, std::vector<TokenId>(stream.begin(), stream.end() - 1));
    EXPECT_EQ(labels, std::vector<TokenId>(stream.begin() + 1, stream.end()));
    EXPECT_EQ(data.trained_tokens, static_cast<int64_t>(labels.size()));
  }
}

TEST(Joining, FilesAreNotJoinedAndWindowsKnowWhereTheyBegin) {
  Dataset data = dataset_of({4, 4, 4});
  data.examples[2].file = 1;
  join_examples(data, 6);
  ASSERT_EQ(data.examples.size(), 3u);
  EXPECT_EQ(data.examples[1].line, 2);
  EXPECT_EQ(data.examples[1].tokens.size(), 3u);
  EXPECT_EQ(data.examples[2].file, 1);
  EXPECT_EQ(data.examples[2].tokens.size(), 4u);
}

}  // namespace
}  // namespace umbel::data
