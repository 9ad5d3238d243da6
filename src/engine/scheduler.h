// Scheduler: pure: running sequences, free blocks, limits, step number -> who has how many rows, who yields its memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/limits.h"
#include "engine/policy.h"

namespace umbel {

struct ScheduleInput {
  std::span<const SequenceView> running;
  int32_t blocks_available = 0;
  int64_t step = 0;
  const Limits& limits;
  const Policy& policy;
};

struct ScheduledRows {
  int32_t sequence;  // index in running
  int32_t rows;
};

// Reused from step to step, so that scheduling allocates nothing once it has the room.
struct Schedule {
  std::vector<ScheduledRows> rows;   // in the order of service
  std::vector<int32_t> preempted;    // give their blocks back before the step; never in rows
  std::vector<int32_t> order;        // scratch
  std::vector<uint8_t> state;        // scratch
  void reserve(int32_t sequences);
};

// Always keeps: sum(rows * cost) <= step_tokens_max, or exactly one row is planned; the planned rows' new blocks fit in
// blocks_available plus the exclusive blocks of the preempted; logits of at most prompt_logprob_rows_max prompt rows plus
// one per sequence.
void schedule(const ScheduleInput& input, Schedule& result);

// Blocks that `tokens` tokens fill.
int32_t blocks_for(int32_t tokens);

}  // namespace umbel
