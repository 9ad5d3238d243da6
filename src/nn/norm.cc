#include "nn/norm.h"

#include <algorithm>

#include "kernels/api_vjp.h"

namespace umbel {
namespace {

const float* own_gain(const Segment& segment, int32_t target) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->norm_gain(target);
}

// One row for every head, where a row holds several.
template <typename Matrix>
Matrix split_heads(Matrix x, int64_t dim) {
  const int64_t heads = x.cols / dim;
  DCHECK(heads * dim == x.cols, "a norm sees whole heads");
  DCHECK(heads == 1 || x.stride == x.cols, "rows of heads are dense");
  return heads == 1 ? x : Matrix(x.data, x.rows * heads, dim);
}

// The gain of every row of x (split into heads), in scratch where adapters have their own.
kernels::PerRow gains_of(const Step& step, int32_t target, int64_t heads) {
  const Segments segments = step.rows.segments;
  const float* base = step.targets[target].vector;
  const bool any_own =
      std::any_of(segments.begin(), segments.end(), [&](const Segment& s) { return own_gain(s, target) != nullptr; });
  if (!any_own) return {.shared = base};
  int64_t rows = 0;
  for (const Segment& segment : segments) rows += segment.row_count;
  const auto gains = step.context.scratch.take<const float*>(static_cast<size_t>(rows * heads));
  for (const Segment& segment : segments) {
    const float* gain = own_gain(segment, target);
    std::fill_n(gains.begin() + segment.row_begin * heads, segment.row_count * heads, gain ? gain : base);
  }
  return {.each = gains};
}

// += of every gain that is trained. x and dy are split into heads.
void gain_gradients(const Backward& backward, int32_t target, float epsilon, ConstMatrixF x, ConstMatrixF dy) {
  const auto grads = backward.gradients[target];
  const Segments segments = backward.step.rows.segments;
  if (segments.empty()) return;
  const int64_t heads = x.rows / (segments.back().row_begin + segments.back().row_count);
  const auto list = backward.step.context.scratch.take<kernels::RowsGradient>(grads.empty() ? 0 : segments.size());
  size_t count = 0;
  for (size_t s = 0; s < segments.size() && !grads.empty(); ++s) {
    if (grads[s].weight == nullptr) continue;
    list[count++] = {.row_begin = static_cast<int32_t>(segments[s].row_begin * heads),
                     .row_count = static_cast<int32_t>(segments[s].row_count * heads),
                     .gradient = grads[s].weight};
  }
  if (count > 0) kernels::rms_norm_vjp_gain(backward.step.context, x, epsilon, dy, list.first(count));
}

}  // namespace

void norm(const Step& step, int32_t target, float epsilon, ConstMatrixF x, MatrixF y) {
  step.note(Op::kNorm, target);
  const int64_t dim = step.targets[target].out;
  const Arena::Mark mark(step.context.scratch);
  kernels::rms_norm(step.context, split_heads(x, dim), gains_of(step, target, x.cols / dim), epsilon, split_heads(y, dim));
}

void norm_backward(const Backward& backward, int32_t target, float epsilon, ConstMatrixF x, const GradientFlow& flow) {
  const Step& step = backward.step;
  step.note_mirror(Op::kNorm, target);
  const Arena::Mark mark(step.context.scratch);
  gain_gradients(backward, target, epsilon, x, flow.dy);
  kernels::rms_norm_vjp(step.context, x, gains_of(step, target, 1), epsilon, flow.dy, flow.dx, kernels::Write::kAdd);
}

void head_norm_backward(const Backward& backward, int32_t target, float epsilon, ConstMatrixF x, MatrixF dx) {
  const Step& step = backward.step;
  step.note_mirror(Op::kNorm, target);
  const Arena::Mark mark(step.context.scratch);
  const int64_t dim = step.targets[target].out, heads = x.cols / dim;
  const ConstMatrixF split_x = split_heads(x, dim);
  const MatrixF split_dx = split_heads(dx, dim);
  gain_gradients(backward, target, epsilon, split_x, split_dx);
  kernels::rms_norm_vjp(step.context, split_x, gains_of(step, target, heads), epsilon, split_dx, split_dx, kernels::Write::kOverwrite);
}

size_t norm_scratch_bytes(int64_t rows, int64_t heads) {
  return ScratchSum().add(rows * heads, sizeof(const float*)).bytes();
}

size_t norm_backward_scratch_bytes(int64_t rows, int64_t heads) {
  return norm_scratch_bytes(rows, heads) + ScratchSum().add(rows, sizeof(kernels::RowsGradient)).bytes() +
         kernels::rms_norm_vjp_gain_scratch_bytes(rows * heads) + 64;
}

}  // namespace umbel
