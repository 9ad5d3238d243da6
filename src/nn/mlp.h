// The gated feed-forward of the Llama family: y = down(silu(gate(x)) o up(x)).
#pragma once

#include "nn/backward.h"
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
// gate(x) and up(x), [M, width], before the activation: what the mirror needs.
struct MlpSaved {
  MatrixF gate;
  MatrixF up;
};
// The same forward, bit for bit, into matrices of the caller.
void mlp_forward_saving(const Step& step, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, MatrixF y);
// The mirror: flow.dx = gradient of x, gradients of the adapters' terms +=. Overwrites what was saved.
void mlp_backward(const Backward& backward, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, const GradientFlow& flow);
size_t mlp_backward_scratch_bytes(const TargetTable& targets, const Mlp& mlp, const BackwardShape& shape);
// Arena bytes that mlp_forward takes at most.
size_t mlp_scratch_bytes(const TargetTable& targets, const Mlp& mlp, int64_t rows, int64_t rank_max, int threads = 0);

}  // namespace umbel
