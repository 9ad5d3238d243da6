// Norm: RMSNorm with the base's gain, or an adapter's own (modules_to_save, trained norms).
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

// y = x / sqrt(mean(x^2) + epsilon) o gain, gain [dim] of the kNorm target. x and y are [M, dim], or dense [M, heads *
// dim] when every head of a row is normed alone (Qwen3). They may be the same matrix.
void norm(const Step& step, int32_t target, float epsilon, ConstMatrixF x, MatrixF y);

// The mirror of a plain norm with the base's gain: dx += (the residual stream). Adapters' own gains are not trained.
void norm_backward(const Step& step, int32_t target, float epsilon, ConstMatrixF x, const GradientFlow& flow);

// Arena bytes that norm takes at most; heads = 1 for a plain norm.
size_t norm_scratch_bytes(int64_t rows, int64_t heads);

}  // namespace umbel
