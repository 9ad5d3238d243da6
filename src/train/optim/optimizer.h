// Optimizer: what one step does to one parameter tensor, and the state it keeps between steps. f32 values; bias correction in
// double. All element by element, so bits do not depend on the number of threads.
//
//   adamw      Loshchilov and Hutter 2019 (arXiv 1711.05101), torch.optim.AdamW's order of operations: decay first, epsilon
//              outside the root
//   adamw8bit  the same with both moments stored as 8-bit codes in blocks of 256 (Dettmers et al. 2022, arXiv 2110.02861;
//              train/blockwise.h): 2 bytes a value instead of 8. A tensor of fewer than kSmallTensor values keeps f32 moments,
//              as in bitsandbytes
//   sgd        torch.optim.SGD: the decay joins the gradient, then momentum (no dampening, no Nesterov)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "tensor/tensor.h"

namespace umbel::train {

enum class OptimizerKind : uint8_t { kAdamW, kAdamW8bit, kSgd };

// One tensor of a parameter's state; names are stable, checkpoints use them.
struct StateTensor {
  std::string name;  // "m", "v"; "m.codes", "m.absmax", "v.codes", "v.absmax"; "momentum"
  Tensor tensor;
};

inline constexpr int64_t kSmallTensor = 4096;

// Zero state for a tensor of this many values. SGD keeps some only with momentum.
std::vector<StateTensor> make_optimizer_state(OptimizerKind kind, int64_t values, double momentum);

struct OptimizerStep {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  double momentum = 0;         // SGD
  int64_t step = 1;            // 1, 2, ...
  double gradient_scale = 1;   // clipping
};
// state: as make_optimizer_state made it for this kind, size and momentum.
void optimizer_update(ThreadPool& pool, const OptimizerStep& step, std::span<float> value, std::span<const float> gradient,
                      std::span<StateTensor> state);

// Sum of squares in double, in blocks of a fixed size that are added up in order.
double sum_of_squares(ThreadPool& pool, std::span<const float> values);

}  // namespace umbel::train
