// Norm: RMSNorm with the base's gain, or an adapter's own (modules_to_save, trained norms).
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

// y = x / sqrt(mean(x^2) + epsilon) o gain, gain [dim] of the kNorm target. x and y are [M, dim], or dense [M, heads *
// dim] when every head of a row is normed alone (Qwen3). They may be the same matrix.
void norm(const Step& step, int32_t target, float epsilon, ConstMatrixF x, MatrixF y);

// The mirror: flow.dx += (the residual stream), gradients of adapters' own gains +=. x as the forward saw it.
void norm_backward(const Backward& backward, int32_t target, float epsilon, ConstMatrixF x, const GradientFlow& flow);
// The mirror of a norm of every head alone: dx, the gradient of its output, becomes that of its input.
void head_norm_backward(const Backward& backward, int32_t target, float epsilon, ConstMatrixF x, MatrixF dx);

// Arena bytes that norm takes at most; heads = 1 for a plain norm.
size_t norm_scratch_bytes(int64_t rows, int64_t heads);
// The same for the two mirrors.
size_t norm_backward_scratch_bytes(int64_t rows, int64_t heads);

}  // namespace umbel
