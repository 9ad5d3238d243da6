#include "nn/norm.h"

#include <algorithm>

#include "kernels/api_vjp.h"

namespace umbel {
namespace {

const float* own_gain(const Segment& segment, int32_t target) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->norm_gain(target);
}

const float* own_bias(const Segment& segment, int32_t target) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->norm_bias(target);
}

// One row for every head, where a row holds several.
template <typename Matrix>
Matrix split_heads(Matrix x, int64_t dim) {
  const int64_t heads = x.cols / dim;
  DCHECK(heads * dim == x.cols, "a norm sees whole heads");
  DCHECK(heads == 1 || x.stride == x.cols, "rows of heads are dense");
  return heads == 1 ? x : Matrix(x.data, x.rows * heads, dim);
}

// How many rows x has for one row of the step.
int64_t heads_of(Segments segments, int64_t rows) {
  return segments.empty() ? 1 : rows / (segments.back().row_begin + segments.back().row_count);
}

using OwnVector = const float* (*)(const Segment& segment, int32_t target);

// A vector of every row of x (split into heads), in scratch where adapters have their own.
kernels::PerRow vectors_of(const Step& step, int32_t target, int64_t heads, OwnVector own, const float* base) {
  const Segments segments = step.rows.segments;
  const bool any_own = std::any_of(segments.begin(), segments.end(), [&](const Segment& s) { return own(s, target) != nullptr; });
  if (!any_own) return {.shared = base};
  int64_t rows = 0;
  for (const Segment& segment : segments) rows += segment.row_count;
  const auto each = step.context.scratch.take<const float*>(static_cast<size_t>(rows * heads));
  for (const Segment& segment : segments) {
    const float* vector = own(segment, target);
    std::fill_n(each.begin() + segment.row_begin * heads, segment.row_count * heads, vector ? vector : base);
  }
  return {.each = each};
}

kernels::Affine affine_of(const Step& step, const Norm& norm, int64_t heads) {
  const Target& base = step.targets[norm.target];
  kernels::Affine affine{.gain = vectors_of(step, norm.target, heads, own_gain, base.vector), .epsilon = norm.epsilon};
  if (norm.kind == NormKind::kLayer) affine.bias = vectors_of(step, norm.target, heads, own_bias, base.norm_bias);
  return affine;
}

// += of every gain and bias that is trained. x and dy are split into heads.
void gradients_of(const Backward& backward, const Norm& norm, ConstMatrixF x, ConstMatrixF dy) {
  kernels::Context& context = backward.step.context;
  const auto grads = backward.gradients[norm.target];
  const Segments segments = backward.step.rows.segments;
  if (segments.empty() || grads.empty()) return;
  const int64_t heads = heads_of(segments, x.rows);
  const auto gains = context.scratch.take<kernels::RowsGradient>(segments.size());
  const auto biases = context.scratch.take<kernels::RowsGradient>(segments.size());
  size_t gain_count = 0, bias_count = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    const auto begin = static_cast<int32_t>(segments[s].row_begin * heads), count = static_cast<int32_t>(segments[s].row_count * heads);
    if (grads[s].weight != nullptr) gains[gain_count++] = {begin, count, grads[s].weight};
    if (grads[s].bias != nullptr) biases[bias_count++] = {begin, count, grads[s].bias};
  }
  if (bias_count > 0) kernels::add_bias_vjp(context, dy, biases.first(bias_count));
  if (gain_count == 0) return;
  const auto gain_vjp = norm.kind == NormKind::kLayer ? kernels::layer_norm_vjp_gain : kernels::rms_norm_vjp_gain;
  gain_vjp(context, x, norm.epsilon, dy, gains.first(gain_count));
}

// x, dy and dx are split into heads.
void mirror(const Step& step, const Norm& norm, ConstMatrixF x, ConstMatrixF dy, const kernels::Written& dx) {
  const kernels::Affine affine = affine_of(step, norm, heads_of(step.rows.segments, x.rows));
  if (norm.kind == NormKind::kLayer) {
    kernels::layer_norm_vjp(step.context, x, affine, dy, dx);
  } else {
    kernels::rms_norm_vjp(step.context, x, affine.gain, norm.epsilon, dy, dx.to, dx.how);
  }
}

}  // namespace

void norm(const Step& step, const Norm& norm, ConstMatrixF x, MatrixF y) {
  step.note(Op::kNorm, norm.target);
  const int64_t dim = step.targets[norm.target].out;
  const Arena::Mark mark(step.context.scratch);
  const kernels::Affine affine = affine_of(step, norm, x.cols / dim);
  if (norm.kind == NormKind::kLayer) {
    kernels::layer_norm(step.context, split_heads(x, dim), affine, split_heads(y, dim));
  } else {
    kernels::rms_norm(step.context, split_heads(x, dim), affine.gain, norm.epsilon, split_heads(y, dim));
  }
}

void norm_backward(const Backward& backward, const Norm& norm, ConstMatrixF x, const GradientFlow& flow, kernels::Write write) {
  const Step& step = backward.step;
  step.note_mirror(Op::kNorm, norm.target);
  const Arena::Mark mark(step.context.scratch);
  gradients_of(backward, norm, x, flow.dy);
  mirror(step, norm, x, flow.dy, {flow.dx, write});
}

void head_norm_backward(const Backward& backward, const Norm& norm, ConstMatrixF x, MatrixF dx) {
  const Step& step = backward.step;
  const int64_t dim = step.targets[norm.target].out;
  const MatrixF split_dx = split_heads(dx, dim);
  norm_backward(backward, norm, split_heads(x, dim), {split_dx, split_dx}, kernels::Write::kOverwrite);
}

size_t norm_scratch_bytes(int64_t rows, int64_t heads) {
  return ScratchSum().add(rows * heads, sizeof(const float*)).add(rows * heads, sizeof(const float*)).bytes();
}

size_t norm_backward_scratch_bytes(int64_t rows, int64_t heads) {
  return norm_scratch_bytes(rows, heads) + ScratchSum().add(rows, 2 * sizeof(kernels::RowsGradient)).bytes() + 64 +
         std::max(kernels::rms_norm_vjp_gain_scratch_bytes(rows * heads), kernels::layer_norm_vjp_gain_scratch_bytes(rows * heads)) + 64;
}

}  // namespace umbel
