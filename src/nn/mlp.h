// The gated feed-forward of the Llama family: y = down(silu(gate(x)) o up(x)).
#pragma once

#include "nn/step.h"

namespace umbel {

// Target indices.
struct Mlp {
  int32_t gate = -1;
  int32_t up = -1;
  int32_t down = -1;
};

// x[M, hidden] to y[M, hidden]; y is overwritten and must not be x.
void mlp_forward(const Step& step, const Mlp& mlp, ConstMatrixF x, MatrixF y);
// Arena bytes that mlp_forward takes at most.
size_t mlp_scratch_bytes(const TargetTable& targets, const Mlp& mlp, int64_t rows, int64_t rank_max);

}  // namespace umbel
