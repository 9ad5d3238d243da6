#include "engine/scheduler.h"

#include <algorithm>
#include <numeric>

#include "kernels/api.h"

namespace umbel {
namespace {

enum State : uint8_t { kOpen, kPlanned, kPreempted };

// What is left to give away while one schedule is made.
struct Supply {
  int32_t budget;
  int32_t blocks;
  int32_t prompt_logit_rows;
};

// Rows that fit in the blocks that a sequence has and could get.
int32_t rows_in_memory(const SequenceView& view, int32_t blocks) {
  return (view.blocks_held + blocks) * kernels::kKvBlockSize - view.computed;
}

// Cuts rows so that the rows that want prompt logits stay within what is left of their buffer.
int32_t cut_to_logit_rows(const SequenceView& view, int32_t rows, int32_t left) {
  if (view.logit_first < 0) return rows;
  const int32_t before = std::max(0, view.logit_first - view.computed);  // rows without
  return std::min(rows, before + left);
}

int32_t youngest_victim(const ScheduleInput& input, const Schedule& result, int32_t needy) {
  int32_t victim = -1;
  for (int32_t index = 0; index < static_cast<int32_t>(input.running.size()); ++index) {
    const SequenceView& view = input.running[index];
    if (index == needy || result.state[index] != kOpen || view.blocks_held == 0) continue;
    if (!input.policy.yields(view, input.running[needy])) continue;
    if (victim < 0 || view.arrival > input.running[victim].arrival) victim = index;
  }
  return victim;
}

// One sequence's share, or 0. Preempts only when not even one row fits.
int32_t rows_for(const ScheduleInput& input, int32_t index, Supply& supply, Schedule& result) {
  const SequenceView& view = input.running[index];
  int32_t rows = input.policy.rows(view, supply.budget, result.rows.empty());
  rows = std::min(rows, input.limits.prefill_chunk_max);
  rows = cut_to_logit_rows(view, rows, supply.prompt_logit_rows);
  if (rows <= 0) return 0;
  while (rows_in_memory(view, supply.blocks) <= 0) {
    const int32_t victim = youngest_victim(input, result, index);
    if (victim < 0) return 0;
    result.state[victim] = kPreempted;
    result.preempted.push_back(victim);
    supply.blocks += input.running[victim].blocks_exclusive;
  }
  return std::min(rows, rows_in_memory(view, supply.blocks));
}

}  // namespace

int32_t blocks_for(int32_t tokens) { return (tokens + kernels::kKvBlockSize - 1) / kernels::kKvBlockSize; }

void Schedule::reserve(int32_t sequences) {
  rows.reserve(sequences);
  preempted.reserve(sequences);
  order.reserve(sequences);
  state.reserve(sequences);
}

void schedule(const ScheduleInput& input, Schedule& result) {
  result.rows.clear();
  result.preempted.clear();
  result.order.resize(input.running.size());
  result.state.assign(input.running.size(), kOpen);
  std::iota(result.order.begin(), result.order.end(), 0);
  std::sort(result.order.begin(), result.order.end(), [&](int32_t a, int32_t b) {
    return input.policy.before(input.running[a], input.running[b], input.step);
  });
  Supply supply{input.limits.step_tokens_max, input.blocks_available, input.limits.prompt_logprob_rows_max};
  for (int32_t index : result.order) {
    if (result.state[index] != kOpen || supply.budget <= 0) continue;
    const SequenceView& view = input.running[index];
    const int32_t rows = rows_for(input, index, supply, result);
    if (rows == 0) continue;
    result.state[index] = kPlanned;
    result.rows.push_back({index, rows});
    supply.budget -= rows * view.cost;
    supply.blocks -= std::max(0, blocks_for(view.computed + rows) - view.blocks_held);
    if (view.logit_first >= 0) {
      supply.prompt_logit_rows -= rows - std::clamp(view.logit_first - view.computed, 0, rows);
    }
  }
}

}  // namespace umbel
