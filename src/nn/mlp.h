// The feed-forward: y = down(f(gate(x)) o up(x)), or down(f(up(x))) without a gate.
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

// Target indices, -1 = none. Gated: gate and up apart, or gate_up, one projection whose outputs are [gate | up].
struct Mlp {
  int32_t gate = -1;
  int32_t up = -1;
  int32_t gate_up = -1;
  int32_t down = -1;
  kernels::Activation activation = kernels::Activation::kSilu;

  bool gated() const { return gate >= 0 || gate_up >= 0; }
  std::array<int32_t, 4> targets() const { return {gate, up, gate_up, down}; }
};

// x[M, hidden] to y[M, hidden]; y is overwritten and must not be x.
void mlp_forward(const Step& step, const Mlp& mlp, ConstMatrixF x, MatrixF y);
// Before the activation, [M, width]: what the mirror needs. Not gated: gate is up(x), and up has no data. fused: both, [M, 2 width],
// where they come out of one projection.
struct MlpSaved {
  MatrixF gate;
  MatrixF up = {};
  MatrixF fused = {};
};
MlpSaved mlp_saved(const TargetTable& targets, const Mlp& mlp, SavedCut& cut);
// The same forward, bit for bit, into matrices of the caller.
void mlp_forward_saving(const Step& step, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, MatrixF y);
// The mirror: flow.dx = gradient of x (skipped when its data is null), gradients of the adapters' terms +=. Overwrites what was
// saved.
void mlp_backward(const Backward& backward, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, const GradientFlow& flow);
size_t mlp_backward_scratch_bytes(const TargetTable& targets, const Mlp& mlp, const BackwardShape& shape);
// Arena bytes that mlp_forward takes at most.
size_t mlp_scratch_bytes(const TargetTable& targets, const Mlp& mlp, int64_t rows, int64_t rank_max, int threads = 0);

}  // namespace umbel
