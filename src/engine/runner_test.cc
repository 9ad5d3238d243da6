#include "engine/runner.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

using Ids = std::vector<int32_t>;
Ids ids(std::span<const int32_t> span) { return {span.begin(), span.end()}; }

TEST(Batch, WritesDownEveryRow) {
  Limits limits{.sequences_max = 4, .step_tokens_max = 16};
  Batch batch(limits);
  const Adapter adapter(1);
  const Ids first_tokens = {11, 12}, second_tokens = {21, 22, 23}, third_tokens = {31};
  const Ids first_blocks = {5}, second_blocks = {2, 7}, third_blocks = {9};
  Plan plan;
  plan.entries.push_back({.position = 0, .tokens = first_tokens, .blocks = first_blocks.data(), .prompt_tokens = 4});
  plan.entries.push_back({.position = 15, .tokens = second_tokens, .blocks = second_blocks.data(), .adapter = &adapter,
                          .prompt_tokens = 16, .logit_rows = 1});
  plan.entries.push_back({.position = 3, .tokens = third_tokens, .blocks = third_blocks.data(), .adapter = &adapter,
                          .prompt_tokens = 2, .logit_rows = 1});
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Rows& rows = batch.build(plan);
    EXPECT_EQ(rows.count(), 6);
    EXPECT_EQ(ids(rows.tokens), (Ids{11, 12, 21, 22, 23, 31}));
    EXPECT_EQ(ids(rows.positions), (Ids{0, 1, 15, 16, 17, 3}));
    EXPECT_EQ(ids(rows.rope_lengths), (Ids{4, 4, 16, 17, 18, 4}));
    EXPECT_EQ(ids(rows.kv_slots), (Ids{80, 81, 47, 112, 113, 147}));
    EXPECT_EQ(ids(rows.key_begin), Ids(6, 0));
    EXPECT_EQ(ids(rows.key_end), (Ids{1, 2, 16, 17, 18, 4}));
    EXPECT_EQ(ids(rows.logit_rows), (Ids{4, 5}));
    ASSERT_EQ(rows.spans.size(), 3u);
    EXPECT_EQ(rows.spans[1].row_begin, 2);
    EXPECT_EQ(rows.spans[1].row_count, 3);
    ASSERT_EQ(rows.segments.size(), 2u);
    EXPECT_EQ(rows.segments[1].row_count, 4);
    EXPECT_EQ(rows.segments[1].adapter, &adapter);
  }
  EXPECT_EQ(plan.rows(), 6);
  EXPECT_EQ(plan.logit_rows(), 2);
  EXPECT_EQ(plan.adapters(), 2);
}

}  // namespace
}  // namespace umbel
