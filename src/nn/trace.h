// OpTrace: which ops a training pass ran, in order. Filled only where a Step carries one, which is how the tests hold a model's mirror
// against its forward: what moved forward must move back in the reverse order.
// Owned by whoever asks for the trace and borrowed for a pass; one thread, the one that runs the pass. It grows as it is filled, so no step
// that has to be free of allocation carries one.
#pragma once

#include <cstdint>
#include <vector>

namespace umbel {

enum class Op : uint8_t { kEmbedding, kPositions, kNorm, kLinear, kRope, kAttention, kActivation };

struct TracedOp {
  Op op = Op::kLinear;
  int32_t target = -1;  // index in the model's TargetTable; for kRope, kAttention and kActivation that of the linear layer it follows

  friend bool operator==(const TracedOp&, const TracedOp&) = default;
};

struct OpTrace {
  std::vector<TracedOp> forward;  // a mirror that computes something again adds it here too
  std::vector<TracedOp> mirror;
};

}  // namespace umbel
