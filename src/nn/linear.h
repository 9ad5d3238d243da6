// Linear: y = x W^T + c for the whole batch, each row with its own adapter.
#pragma once

#include "nn/step.h"

namespace umbel {

// target: index of a kLinear target of step.targets. x[M, in], y[M, out]; bias included. Overwrites y.
void linear(const Step& step, int32_t target, ConstMatrixF x, MatrixF y);

// Arena bytes that linear takes at most.
size_t linear_scratch_bytes(const Target& target, int64_t rows, int64_t rank_max);

}  // namespace umbel
