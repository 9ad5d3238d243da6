#include "nn/head.h"

#include <algorithm>

#include "nn/linear.h"
#include "nn/norm.h"

namespace umbel {
namespace {

// The segments of the wanted rows alone: same adapters, counted in wanted rows. At most one per wanted row.
Segments wanted_segments(kernels::Context& context, const Rows& rows) {
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

}  // namespace

void head_forward(const Step& step, const Head& head, ConstMatrixF x, MatrixF logits) {
  const auto wanted = step.rows.logit_rows;
  if (wanted.empty()) return;
  kernels::Context& context = step.context;
  const Arena::Mark mark(context.scratch);
  const MatrixF picked = take_matrix(context, static_cast<int64_t>(wanted.size()), x.cols);
  for (size_t i = 0; i < wanted.size(); ++i) std::copy_n(x.row(wanted[i]), x.cols, picked.row(static_cast<int64_t>(i)));
  const Rows picked_rows{.segments = wanted_segments(context, step.rows)};
  const Step last{.context = context, .targets = step.targets, .rows = picked_rows};
  norm(last, head.norm, head.norm_epsilon, picked, picked);
  linear(last, head.projection, picked, logits);
}

size_t head_scratch_bytes(const TargetTable& targets, const Head& head, int64_t logit_rows, int64_t rank_max) {
  const Target& projection = targets[head.projection];
  return ScratchSum().add(logit_rows * projection.in).add(logit_rows, sizeof(Segment)).bytes() +
         std::max(norm_scratch_bytes(logit_rows, 1), linear_scratch_bytes(projection, logit_rows, rank_max));
}

}  // namespace umbel
