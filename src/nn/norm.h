// Norm: RMSNorm or LayerNorm with the base's gain and bias, or an adapter's own (modules_to_save, trained norms).
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

enum class NormKind : uint8_t {
  kRms,    // x / sqrt(mean(x^2) + epsilon) o gain
  kLayer,  // (x - mean) / sqrt(variance + epsilon) o gain + bias
};

// A norm of a model: where its vectors are, and which it is.
struct Norm {
  int32_t target = -1;  // kNorm; -1 = there is none here
  NormKind kind = NormKind::kRms;
  float epsilon = 0;

  bool present() const { return target >= 0; }
};

// y = the norm of x. x and y are [M, dim], or dense [M, heads * dim] when every head of a row is normed alone (Qwen3). They may
// be the same matrix.
void norm(const Step& step, const Norm& norm, ConstMatrixF x, MatrixF y);

// The mirror: flow.dx += (the residual stream) or =, gradients of adapters' own gains and biases +=. x as the forward saw it.
// flow.dx may be flow.dy where it is overwritten.
void norm_backward(const Backward& backward, const Norm& norm, ConstMatrixF x, const GradientFlow& flow,
                   kernels::Write write = kernels::Write::kAdd);
// The mirror of a norm of every head alone: dx, the gradient of its output, becomes that of its input.
void head_norm_backward(const Backward& backward, const Norm& norm, ConstMatrixF x, MatrixF dx);

// Arena bytes that norm takes at most; heads = 1 for a plain norm.
size_t norm_scratch_bytes(int64_t rows, int64_t heads);
// The same for the two mirrors.
size_t norm_backward_scratch_bytes(int64_t rows, int64_t heads);

}  // namespace umbel
