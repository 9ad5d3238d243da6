#include "nn/norm.h"

#include <algorithm>

#include "kernels/api_vjp.h"

namespace umbel {
namespace {

const float* own_gain(const Segment& segment, int32_t target) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->norm_gain(target);
}

}  // namespace

void norm(const Step& step, int32_t target, float epsilon, ConstMatrixF x, MatrixF y) {
  const Target& base = step.targets[target];
  const int64_t heads = x.cols / base.out;
  DCHECK(heads * base.out == x.cols && y.cols == x.cols, "a norm sees whole heads");
  if (heads > 1) {
    DCHECK(x.stride == x.cols && y.stride == y.cols, "rows of heads are dense");
    x = ConstMatrixF(x.data, x.rows * heads, base.out);
    y = MatrixF(y.data, y.rows * heads, base.out);
  }
  const Segments segments = step.rows.segments;
  const bool any_own =
      std::any_of(segments.begin(), segments.end(), [&](const Segment& s) { return own_gain(s, target) != nullptr; });
  if (!any_own) {
    kernels::rms_norm(step.context, x, {.shared = base.vector}, epsilon, y);
    return;
  }
  const Arena::Mark mark(step.context.scratch);
  const auto gains = step.context.scratch.take<const float*>(static_cast<size_t>(x.rows));
  for (const Segment& segment : segments) {
    const float* gain = own_gain(segment, target);
    std::fill_n(gains.begin() + segment.row_begin * heads, segment.row_count * heads, gain ? gain : base.vector);
  }
  kernels::rms_norm(step.context, x, {.each = gains}, epsilon, y);
}

void norm_backward(const Step& step, int32_t target, float epsilon, ConstMatrixF x, const GradientFlow& flow) {
  kernels::rms_norm_vjp(step.context, x, {.shared = step.targets[target].vector}, epsilon, flow.dy, flow.dx,
                        kernels::Write::kAdd);
}

size_t norm_scratch_bytes(int64_t rows, int64_t heads) {
  return ScratchSum().add(rows * heads, sizeof(const float*)).bytes();
}

}  // namespace umbel
