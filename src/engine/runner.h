// Runner: computes one step: Plan -> Rows -> model -> logits. launch() and collect() are apart so that a device can work
// while the engine does something else; the CPU one works in launch().
//
// One thread. At most one ticket is open at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/limits.h"
#include "engine/plan.h"
#include "models/model.h"
#include "nn/rows.h"

namespace umbel {

struct Ticket {
  uint64_t number = 0;
};

class Runner {
 public:
  virtual ~Runner() = default;
  virtual Ticket launch(const Plan& plan) = 0;
  // One row of logits per wanted row, in plan order; valid until the next launch.
  virtual ConstMatrixF collect(Ticket ticket) = 0;
};

// Batch: the arrays behind Rows, sized once from the limits.
class Batch {
 public:
  explicit Batch(const Limits& limits);
  // Valid until the next build. Allocates nothing.
  const Rows& build(const Plan& plan);

 private:
  void append(const PlanEntry& entry);

  std::vector<int32_t> tokens_, positions_, rope_lengths_, kv_slots_, key_begin_, key_end_, logit_rows_;
  std::vector<kernels::AttentionSpan> spans_;
  std::vector<Segment> segments_;
  Rows rows_;
};

// Largest numbers of rows and of wanted logits in one step under these limits.
int32_t step_rows_max(const Limits& limits);
int32_t step_logit_rows_max(const Limits& limits);

}  // namespace umbel
