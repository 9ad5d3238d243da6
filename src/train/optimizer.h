// Optimizer arithmetic over one parameter tensor, f32 with bias correction in double. Pure loops; one thread.
#pragma once

#include <cstdint>
#include <span>

namespace umbel {

// AdamW (Loshchilov and Hutter 2019) with torch.optim.AdamW's order of operations: decay first, epsilon outside the root.
struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  int64_t step = 1;            // 1, 2, ...
  double gradient_scale = 1;   // clipping
};
void adamw_update(const AdamWStep& step, std::span<float> value, std::span<const float> gradient, std::span<float> m, std::span<float> v);

// Sum of squares, ascending, in double.
double sum_of_squares(std::span<const float> values);

}  // namespace umbel
