#include "nn/head.h"

#include <algorithm>

#include "kernels/api_vjp.h"
#include "nn/linear.h"

namespace umbel {
namespace {

// The segments of the wanted rows alone: same adapters, counted in wanted rows. At most one per wanted row.
std::span<Segment> wanted_segments(kernels::Context& context, const Rows& rows) {
  const auto cut = context.scratch.take<Segment>(rows.logit_rows.size());
  size_t count = 0;
  size_t next = 0;
  for (const Segment& segment : rows.segments) {
    const size_t begin = next;
    while (next < rows.logit_rows.size() && rows.logit_rows[next] < segment.row_begin + segment.row_count) ++next;
    if (next == begin) continue;
    cut[count++] = {.row_begin = static_cast<int32_t>(begin),
                    .row_count = static_cast<int32_t>(next - begin),
                    .adapter = segment.adapter};
  }
  CHECK(next == rows.logit_rows.size(), "logit_rows are ascending rows of the step");
  return cut.first(count);
}

// How many logits a row of this segment has.
int64_t logits_of(const Segment& segment, const Target& projection) {
  const int64_t own = segment.adapter == nullptr ? 0 : segment.adapter->vocabulary();
  return own > 0 ? own : projection.out;
}

void finish_logits(kernels::Context& context, const Head& head, MatrixF logits) {
  if (head.scale != 1) kernels::multiply(context, head.scale, logits);
  if (head.cap != 0) kernels::soft_cap(context, head.cap, logits);
}

}  // namespace

void head_forward(const Step& step, const Head& head, ConstMatrixF x, MatrixF logits) {
  const auto wanted = step.rows.logit_rows;
  if (wanted.empty()) return;
  kernels::Context& context = step.context;
  const Arena::Mark mark(context.scratch);
  const MatrixF picked = take_matrix(context, static_cast<int64_t>(wanted.size()), x.cols);
  for (size_t i = 0; i < wanted.size(); ++i) std::copy_n(x.row(wanted[i]), x.cols, picked.row(static_cast<int64_t>(i)));
  const std::span<Segment> segments = wanted_segments(context, step.rows);
  const Rows picked_rows{.segments = segments};
  norm({.context = context, .targets = step.targets, .rows = picked_rows}, head.norm, picked, picked);
  // Neighbours with as many logits go together: one product, unless there are adapters with vocabularies of their own.
  const Target& projection = step.targets[head.projection];
  for (size_t first = 0, next = 0; first < segments.size(); first = next) {
    const int64_t width = logits_of(segments[first], projection);
    const int32_t begin = segments[first].row_begin;
    int32_t rows = 0;
    for (next = first; next < segments.size() && logits_of(segments[next], projection) == width; ++next) {
      rows += segments[next].row_count;
      segments[next].row_begin -= begin;
    }
    CHECK(width <= logits.cols, "the logits have room for the adapter's vocabulary");
    const Rows run{.segments = segments.subspan(first, next - first)};
    const MatrixF written = logits.middle_rows(begin, rows).middle_cols(0, width);
    linear({.context = context, .targets = step.targets, .rows = run}, head.projection, picked.middle_rows(begin, rows), written);
    finish_logits(context, head, written);
  }
}

size_t head_scratch_bytes(const TargetTable& targets, const Head& head, int64_t logit_rows, int64_t rank_max) {
  const Target& projection = targets[head.projection];
  return ScratchSum().add(logit_rows * projection.in).add(logit_rows, sizeof(Segment)).bytes() +
         std::max(norm_scratch_bytes(logit_rows, 1), linear_scratch_bytes(projection, logit_rows, rank_max));
}

void head_forward_saving(const Step& step, const Head& head, const HeadSaved& saved) {
  norm(step, head.norm, saved.x, saved.normed);
  linear(step, head.projection, saved.normed, saved.logits);
  finish_logits(step.context, head, saved.logits);
}

void head_backward(const Backward& backward, const Head& head, const HeadSaved& saved, MatrixF dlogits, MatrixF dx) {
  kernels::Context& context = backward.step.context;
  const Arena::Mark mark(context.scratch);
  if (head.cap != 0) kernels::soft_cap_vjp(context, head.cap, saved.logits, dlogits);
  if (head.scale != 1) kernels::multiply(context, head.scale, dlogits);
  const MatrixF dnormed = take_matrix(context, dx.rows, dx.cols);
  linear_backward(backward, head.projection, saved.normed, {dlogits, dnormed});
  norm_backward(backward, head.norm, saved.x, {dnormed, dx}, kernels::Write::kOverwrite);
}

size_t head_backward_scratch_bytes(const TargetTable& targets, const Head& head, int64_t rows) {
  return ScratchSum().add(rows * targets[head.projection].in).bytes() + norm_backward_scratch_bytes(rows, 1);
}

}  // namespace umbel
