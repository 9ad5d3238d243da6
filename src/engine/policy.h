// Policy: who goes first, who is let in, who has to yield: small functions from values to values (house habit 6).
//
// The default one promises, together with FairShares: among the sequences of one lane (one adapter of one tenant),
// every one is served at least once in kAgedSteps + their number of the lane's turns, unless it waits for memory; the
// oldest running request never waits for memory; nobody later in FairQueue's order is let in past a request that waits
// for memory.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace umbel {

// A running sequence that was not served for this many steps goes before everything else.
inline constexpr int64_t kAgedSteps = 8;
// A request whose adapter could not be pinned for this long stops younger requests from pinning theirs (so that the
// busy adapters' pins run out and its own fits).
inline constexpr Duration kAdapterPatience = std::chrono::seconds(5);

// What the policy may know of a running sequence.
struct SequenceView {
  uint64_t arrival = 0;         // rises with submission; preempted sequences keep theirs
  uint64_t tenant = 0;
  uint64_t lane = 0;            // one adapter of one tenant (FairQueue::serial)
  int32_t rank = 0;             // its tenant's running sequences with a better claim to memory (claim_ranks)
  int64_t served_step = 0;      // last step in which it had a row, or in which it was let in
  int32_t remaining = 0;        // rows that could run now, > 0
  int32_t computed = 0;         // tokens in the KV cache
  int32_t blocks_held = 0;
  int32_t blocks_exclusive = 0; // would become available if it were preempted
  int32_t cost = 1;             // of one row
  int32_t logit_first = -1;     // first position from which every row wants logits (prompt logprobs); -1 = last row only
};

// What it may know of the pool and of a request at the door.
struct AdmissionView {
  int32_t running = 0;
  int32_t sequences_max = 0;
  int32_t blocks_available = 0;
  int32_t blocks_promised = 0;  // that the running sequences still need for the tokens they have now
  int32_t blocks_needed = 0;    // by the candidate, for the tokens it has now, beyond a shared prefix
  int32_t blocks_idle_shared = 0;  // idle blocks that its shared prefix takes out of the available ones
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Strict weak order: a is served before b, of the same lane.
  virtual bool before(const SequenceView& a, const SequenceView& b, int64_t step) const;
  // True when the candidate may start now.
  virtual bool admits(const AdmissionView& view) const;
  // True when `victim` may be preempted for `needy`.
  virtual bool yields(const SequenceView& victim, const SequenceView& needy) const;
  // Rows that `view` may have in this step, with so much of the budget left; `alone` when nothing else is planned yet.
  virtual int32_t rows(const SequenceView& view, int32_t budget_left, bool alone) const;
};

}  // namespace umbel
