// Scheduler: running sequences, free blocks, limits, shares, step number -> who has how many rows, who yields its
// memory.
//
// The budget is divided over lanes by FairShares, whose state is the only thing kept from step to step; inside a lane
// the policy's order holds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/fair_shares.h"
#include "engine/limits.h"
#include "engine/policy.h"

namespace umbel {

struct ScheduleInput {
  std::span<const SequenceView> running;
  int32_t blocks_available = 0;
  int64_t step = 0;
  const Limits& limits;
  const Policy& policy;
  FairShares& shares;
};

struct ScheduledRows {
  int32_t sequence;  // index in running
  int32_t rows;
};

// Reused from step to step, so that scheduling allocates nothing once it has the room.
struct Schedule {
  std::vector<ScheduledRows> rows;   // in the order of service
  std::vector<int32_t> preempted;    // give their blocks back before the step; never in rows
  // Scratch.
  struct LaneSpan {
    int32_t begin, end;  // in order
  };
  std::vector<int32_t> order;
  std::vector<uint8_t> state;
  std::vector<int32_t> place;  // of a planned sequence in rows
  std::vector<LaneSpan> lanes;
  std::vector<ShareDemand> demands;  // beside lanes
  std::vector<int64_t> used;         // beside lanes
  void reserve(int32_t sequences);
};

// Always keeps: sum(rows * cost) <= step_tokens_max, or exactly one row is planned; the planned rows' new blocks fit in
// blocks_available plus the exclusive blocks of the preempted; logits of at most prompt_logprob_rows_max prompt rows
// plus one per sequence.
void schedule(const ScheduleInput& input, Schedule& result);

// Fills SequenceView::rank: a tenant's sequences by turns over its lanes, the oldest of each lane first. order is
// scratch.
void claim_ranks(std::span<SequenceView> views, std::vector<int32_t>& order);

// Blocks that `tokens` tokens fill.
int32_t blocks_for(int32_t tokens);

}  // namespace umbel
