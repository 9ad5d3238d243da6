// Linear: y = x W^T + c for the whole batch, each row with its own adapter.
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

// target: index of a kLinear target of step.targets. x[M, in], y[M, out]; bias included. Overwrites y.
void linear(const Step& step, int32_t target, ConstMatrixF x, MatrixF y);

// The mirror: flow.dx = gradient of x (skipped when its data is null), gradients of the adapters' terms +=. x as in linear().
void linear_backward(const Backward& backward, int32_t target, ConstMatrixF x, const GradientFlow& flow);
size_t linear_backward_scratch_bytes(const Target& target, const BackwardShape& shape);

// Arena bytes that linear takes at most. threads 0, here and in the layers above: of any pool.
size_t linear_scratch_bytes(const Target& target, int64_t rows, int64_t rank_max, int threads = 0);

}  // namespace umbel
