#include "nn/linear.h"

#include <algorithm>

#include "adapters/apply.h"

namespace umbel {

void linear(const Step& step, int32_t target, ConstMatrixF x, MatrixF y) {
  step.note(Op::kLinear, target);
  apply_linear(step.context, step.targets, target, step.rows.segments, x, y);
}

void linear_backward(const Backward& backward, int32_t target, ConstMatrixF x, const GradientFlow& flow) {
  const Step& step = backward.step;
  step.note_mirror(Op::kLinear, target);
  const Arena::Mark mark(step.context.scratch);
  std::span<const LinearGrads> grads = backward.gradients[target];
  if (grads.empty()) {
    const auto none = step.context.scratch.take<LinearGrads>(step.rows.segments.size());
    std::fill(none.begin(), none.end(), LinearGrads{});
    grads = none;
  }
  apply_linear_vjp(step.context,
                   {.targets = step.targets, .index = target, .segments = step.rows.segments, .grads = grads, .x = x, .dy = flow.dy},
                   flow.dx);
}

size_t linear_backward_scratch_bytes(const Target& target, const BackwardShape& shape) {
  return apply_linear_vjp_scratch_bytes({.rows = shape.rows, .in = target.in, .out = target.out, .rank_max = shape.rank_max,
                                         .terms_max = shape.terms_max, .threads = shape.threads}) +
         static_cast<size_t>(shape.rows) * sizeof(LinearGrads) + 64;
}

size_t linear_scratch_bytes(const Target& target, int64_t rows, int64_t rank_max, int threads) {
  const int64_t expanded = std::max<int64_t>(rows, kExpandedRowsMax);
  return apply_linear_scratch_bytes(rows, target.in, target.out, rank_max, threads) +
         std::max(kernels::matmul_forward_scratch_bytes(expanded, target.in, threads), kernels::low_rank_scratch_bytes(rows));
}

}  // namespace umbel
