#include "train/step/batch_rows.h"

#include <gtest/gtest.h>

#include <set>

namespace umbel::train {
namespace {

data::Example example_of(std::vector<TokenId> tokens, size_t first_trained) {
  data::Example example{.tokens = std::move(tokens)};
  example.trained.assign(example.tokens.size(), 0);
  for (size_t i = first_trained; i < example.tokens.size(); ++i) example.trained[i] = 1;
  return example;
}

TEST(BatchRows, SequencesAreWholeRaggedAndGroupedByJob) {
  BatchRows batch;
  const Adapter first(0), second(0);
  batch.append(example_of({1, 5, 6, 2}, 2), 0, &first);
  batch.append(example_of({1, 7, 2}, 1), 0, &first);
  batch.append(example_of({1, 8, 9, 10, 2}, 4), 3, &second);
  batch.finish();
  const Rows rows = batch.rows();
  ASSERT_EQ(rows.count(), 3 + 2 + 4);  // the last token is only predicted
  EXPECT_EQ(std::vector<int32_t>(rows.tokens.begin(), rows.tokens.end()), (std::vector<int32_t>{1, 5, 6, 1, 7, 1, 8, 9, 10}));
  EXPECT_EQ(std::vector<int32_t>(rows.positions.begin(), rows.positions.end()), (std::vector<int32_t>{0, 1, 2, 0, 1, 0, 1, 2, 3}));
  ASSERT_EQ(batch.segments().size(), 2u);
  EXPECT_EQ(batch.segments()[0].row_count, 5);
  EXPECT_EQ(batch.segments()[1].adapter, &second);
  EXPECT_EQ(batch.segment_jobs(), (std::vector<int32_t>{0, 3}));
  EXPECT_EQ(batch.span_rows_max(), 4);
  const auto examples = [&](size_t segment) {
    return std::vector<int32_t>(batch.segments()[segment].examples.begin(), batch.segments()[segment].examples.end());
  };
  EXPECT_EQ(examples(0), (std::vector<int32_t>{0, 3, 5}));
  EXPECT_EQ(examples(1), (std::vector<int32_t>{5, 9}));
}

TEST(BatchRows, LossRowsPredictTheTrainedTokens) {
  BatchRows batch;
  batch.append(example_of({1, 5, 6, 2}, 2), 0, nullptr);
  batch.append(example_of({1, 7, 2}, 1), 1, nullptr);
  batch.finish();
  const auto& loss = batch.loss_rows();
  ASSERT_EQ(loss.size(), 4u);
  EXPECT_EQ(loss[0].row, 1);
  EXPECT_EQ(loss[0].label, 6);
  EXPECT_EQ(loss[1].label, 2);
  EXPECT_EQ(loss[2].row, 3);
  EXPECT_EQ(loss[2].label, 7);
  EXPECT_EQ(loss[2].job, 1);
}

TEST(BatchRows, NoTwoRowsShareAKvSlotAndSpansFindTheirKeys) {
  BatchRows batch;
  for (const int length : {2, 17, 33, 3, 18}) {
    batch.append(example_of(std::vector<TokenId>(length, 4), 1), length % 2, nullptr);
  }
  batch.finish();
  const Rows rows = batch.rows();
  std::set<int32_t> slots(rows.kv_slots.begin(), rows.kv_slots.end());
  EXPECT_EQ(slots.size(), rows.kv_slots.size());
  for (const kernels::AttentionSpan& span : rows.spans) {
    for (int32_t i = 0; i < span.row_count; ++i) {
      const int32_t expected = span.blocks[i / kernels::kKvBlockSize] * kernels::kKvBlockSize + i % kernels::kKvBlockSize;
      EXPECT_EQ(rows.kv_slots[span.row_begin + i], expected);
      EXPECT_LT(expected, batch.blocks() * kernels::kKvBlockSize);
    }
  }
  batch.clear();
  EXPECT_EQ(batch.count(), 0);
  EXPECT_EQ(batch.blocks(), 0);
}

}  // namespace
}  // namespace umbel::train
