// Activations of the feed-forward. Plain data: the leaf files include this (kernels/table.h).
#pragma once

namespace umbel::kernels {

enum class Activation {
  kSilu,      // z / (1 + exp(-z))
  kGeluTanh,  // 0.5 z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))): gelu_new, gelu_pytorch_tanh, gelu_fast
  kGelu,      // 0.5 z (1 + erf(z / sqrt(2)))
  kRelu,
};
inline constexpr int kActivations = 4;

}  // namespace umbel::kernels
