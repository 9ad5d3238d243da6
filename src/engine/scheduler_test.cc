#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace umbel {
namespace {

constexpr int32_t kBlock = kernels::kKvBlockSize;

SequenceView decoding(uint64_t arrival, int32_t computed, int32_t cost = 1) {
  return {.arrival = arrival, .served_step = 9, .remaining = 1, .computed = computed, .blocks_held = blocks_for(computed),
          .blocks_exclusive = blocks_for(computed), .cost = cost};
}
SequenceView reading(uint64_t arrival, int32_t remaining, int32_t cost = 1) {
  return {.arrival = arrival, .served_step = 9, .remaining = remaining, .cost = cost};
}
SequenceView in_lane(SequenceView view, uint64_t tenant, uint64_t lane) {
  view.tenant = tenant;
  view.lane = lane;
  return view;
}

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() {
    limits_.step_tokens_max = 32;
    limits_.prefill_chunk_max = 16;
    limits_.prompt_logprob_rows_max = 8;
  }
  // Rows by sequence index; 0 = not served.
  std::vector<int32_t> run(const std::vector<SequenceView>& views, int32_t blocks, int64_t step = 10) {
    schedule({views, blocks, step, limits_, policy_, shares_}, result_);
    std::vector<int32_t> rows(views.size(), 0);
    for (const ScheduledRows& share : result_.rows) rows[share.sequence] = share.rows;
    return rows;
  }
  Limits limits_;
  Policy policy_;
  FairShares shares_{256};
  Schedule result_;
};

using Rows = std::vector<int32_t>;

TEST_F(SchedulerTest, DecodingFirstThenPromptsInChunks) {
  EXPECT_EQ(run({reading(1, 100), decoding(2, 20), decoding(3, 7)}, 99), (Rows{16, 1, 1}));
  EXPECT_EQ(run({reading(1, 100), reading(2, 100), decoding(3, 7)}, 99), (Rows{16, 15, 1}));
}

TEST_F(SchedulerTest, CostWeighs) {
  EXPECT_EQ(run({decoding(1, 5, 20), decoding(2, 5, 20), decoding(3, 5)}, 99), (Rows{1, 0, 1}));
  EXPECT_EQ(run({reading(1, 100, 8)}, 99), (Rows{4}));
}

TEST_F(SchedulerTest, ARowDearerThanTheBudgetRunsAlone) {
  EXPECT_EQ(run({decoding(1, 5, 100)}, 99), (Rows{1}));
  SequenceView dear = decoding(2, 5, 100);
  EXPECT_EQ(run({decoding(1, 5), dear}, 99), (Rows{1, 0}));
  dear.served_step = 1;  // aged
  EXPECT_EQ(run({decoding(1, 5), dear}, 99), (Rows{0, 1}));
}

TEST_F(SchedulerTest, TheAgedGoFirst) {
  SequenceView waiting = reading(9, 100);
  waiting.served_step = 10 - kAgedSteps;
  limits_.step_tokens_max = 16;
  EXPECT_EQ(run({decoding(1, 5), waiting}, 99), (Rows{0, 16}));
}

TEST_F(SchedulerTest, ChunksShrinkToFitBeforeAnybodyYields) {
  EXPECT_EQ(run({reading(1, 100), decoding(2, kBlock + 1)}, 0), (Rows{0, 1})) << "the one that is served is no victim";
  limits_.prefill_chunk_max = 32;
  EXPECT_EQ(run({reading(1, 100)}, 1), (Rows{kBlock}));
  EXPECT_TRUE(result_.preempted.empty());
}

TEST_F(SchedulerTest, TheYoungestYields) {
  // All need a new block and there is none.
  const std::vector<SequenceView> views = {decoding(5, 2 * kBlock), decoding(7, kBlock), decoding(6, kBlock)};
  EXPECT_EQ(run(views, 0), (Rows{1, 0, 0}));
  EXPECT_EQ(result_.preempted, (Rows{1})) << "the youngest gives one block: enough for the oldest; the middle one waits";
}

TEST_F(SchedulerTest, TheSecondOfOneTenantYieldsToTheFirstOfAnother) {
  std::vector<SequenceView> views = {in_lane(decoding(1, kBlock), 1, 1), in_lane(decoding(2, kBlock), 1, 1),
                                     in_lane(decoding(3, kBlock), 2, 2)};
  std::vector<int32_t> scratch;
  claim_ranks(views, scratch);
  EXPECT_EQ(run(views, 0), (Rows{1, 0, 0}));
  EXPECT_EQ(result_.preempted, (Rows{1})) << "though it is older than the third";
}

TEST_F(SchedulerTest, ClaimsGoRoundTheLanesOfATenant) {
  std::vector<SequenceView> views = {in_lane(decoding(1, 1), 1, 1), in_lane(decoding(2, 1), 1, 1),
                                     in_lane(decoding(3, 1), 1, 1), in_lane(decoding(4, 1), 1, 5),
                                     in_lane(decoding(5, 1), 2, 2), in_lane(decoding(6, 1), 1, 5)};
  std::vector<int32_t> scratch, ranks;
  claim_ranks(views, scratch);
  for (const SequenceView& view : views) ranks.push_back(view.rank);
  EXPECT_EQ(ranks, (Rows{0, 2, 4, 1, 0, 3}));
}

// One key's many sequences, whatever they cost, leave another's lone one its row in every step; of a prompt, half.
TEST_F(SchedulerTest, ALoneSequenceBesideSixtyHasItsShare) {
  for (const int32_t cost : {1, 2, 16}) {
    std::vector<SequenceView> views;
    for (uint64_t i = 0; i < 60; ++i) views.push_back(in_lane(decoding(i, 5, cost), 1, 1));
    views.push_back(in_lane(decoding(99, 5), 2, 2));
    for (int64_t step = 10; step < 14; ++step) EXPECT_EQ(run(views, 999, step).back(), 1) << cost;
    views.back() = in_lane(reading(99, 500), 2, 2);
    for (int64_t step = 14; step < 18; ++step) EXPECT_EQ(run(views, 999, step).back(), 16) << cost;
  }
}

// A FLoRA adapter whose one row weighs more than a whole step (R11): it progresses, and not in every step.
TEST_F(SchedulerTest, ADearAdapterMakesOthersWaitForEverySecondStepAtMost) {
  std::vector<SequenceView> views = {in_lane(reading(1, 1000, 40), 1, 1), in_lane(decoding(2, 5), 1, 2),
                                     in_lane(decoding(3, 5), 2, 3)};
  int dear = 0;
  std::vector<int> missed(3, 0);
  for (int64_t step = 10; step < 110; ++step) {
    const Rows rows = run(views, 999, step);
    dear += rows[0];
    for (const size_t i : {1u, 2u}) {
      missed[i] = rows[i] > 0 ? 0 : missed[i] + 1;
      ASSERT_LE(missed[i], 1) << "step " << step;
    }
  }
  EXPECT_NEAR(dear, 100 * 8 / 40, 1) << "a quarter of 32 is the share of one of two adapters of one of two keys";
}

TEST_F(SchedulerTest, PromptLogprobRowsAreBounded) {
  SequenceView scoring = reading(1, 30);
  scoring.logit_first = 0;
  SequenceView second = reading(2, 30);
  second.logit_first = 4;  // its first four are known already
  EXPECT_EQ(run({scoring, second}, 99), (Rows{8, 4}));
}

// Random states: what schedule() promises in its header, whatever comes.
TEST_F(SchedulerTest, PromisesHoldForRandomStates) {
  for (uint64_t seed = 1; seed <= 5000; ++seed) {
    Random random(seed);
    limits_.step_tokens_max = static_cast<int32_t>(1 + random.next_below(60));
    limits_.prefill_chunk_max = static_cast<int32_t>(1 + random.next_below(30));
    limits_.prompt_logprob_rows_max = static_cast<int32_t>(1 + random.next_below(8));
    std::vector<SequenceView> views(1 + random.next_below(10));
    for (size_t i = 0; i < views.size(); ++i) {
      SequenceView& view = views[i];
      view = decoding(i * 7 % 11, static_cast<int32_t>(random.next_below(80)), static_cast<int32_t>(1 + random.next_below(30)));
      if (random.next_below(2) == 0) view.remaining = static_cast<int32_t>(1 + random.next_below(60));
      view.served_step = static_cast<int64_t>(random.next_below(10));
      view.blocks_exclusive = static_cast<int32_t>(random.next_below(view.blocks_held + 1));
      if (random.next_below(4) == 0) view.logit_first = static_cast<int32_t>(random.next_below(100));
      view.lane = 1 + random.next_below(1 + seed % 4);
      view.tenant = view.lane / 2;
    }
    std::vector<int32_t> scratch;
    claim_ranks(views, scratch);
    const auto blocks = static_cast<int32_t>(random.next_below(8));
    const Rows rows = run(views, blocks);
    int64_t cost = 0, total = 0, needed = 0, prompt_logits = 0, gained = blocks;
    for (size_t i = 0; i < views.size(); ++i) {
      const SequenceView& view = views[i];
      ASSERT_LE(rows[i], std::min(view.remaining, limits_.prefill_chunk_max));
      total += rows[i];
      cost += static_cast<int64_t>(rows[i]) * view.cost;
      needed += std::max(0, blocks_for(view.computed + rows[i]) - view.blocks_held);
      if (view.logit_first >= 0) prompt_logits += rows[i] - std::clamp(view.logit_first - view.computed, 0, rows[i]);
    }
    for (int32_t victim : result_.preempted) {
      ASSERT_EQ(rows[victim], 0);
      gained += views[victim].blocks_exclusive;
    }
    ASSERT_TRUE(cost <= limits_.step_tokens_max || total == 1) << "seed " << seed;
    ASSERT_LE(needed, gained) << "seed " << seed;
    ASSERT_LE(prompt_logits, limits_.prompt_logprob_rows_max) << "seed " << seed;
  }
}

TEST(Policy, AdmissionKeepsAReserve) {
  const Policy policy;
  AdmissionView view{.running = 3, .sequences_max = 4, .blocks_available = 10, .blocks_promised = 2, .blocks_needed = 4};
  EXPECT_TRUE(policy.admits(view));
  view.blocks_needed = 5;
  EXPECT_FALSE(policy.admits(view));
  view = {.running = 0, .sequences_max = 4, .blocks_available = 1, .blocks_needed = 1};
  EXPECT_TRUE(policy.admits(view)) << "alone it always may";
  view.running = 4;
  view.blocks_available = 100;
  EXPECT_FALSE(policy.admits(view));
}

}  // namespace
}  // namespace umbel
