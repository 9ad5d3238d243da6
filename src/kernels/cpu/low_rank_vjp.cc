// Backward of the segmented low rank. B^T g is a shrink with B's rows, A^T dh is an expand with A's: the leaves are those of
// the forward. Parameter gradients are products with the transposed activations.
#include <algorithm>

#include "kernels/api_vjp.h"
#include "kernels/cpu/gemm_add.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

// y[i, r] = x[i, r] * v[r]: h-shaped data of one segment.
void scale_rows(const Table& table, const LowRankSegment& segment, const float* x, const float* v, float* y) {
  for (int64_t i = 0; i < segment.row_count; ++i) table.scale(x + i * segment.rank, v, y + i * segment.rank, segment.rank);
}

// The segment that computes B^T g by shrinking: A's place is taken by B, v's by the scale.
LowRankSegment transposed_expand(const LowRankSegment& segment, const float* scale) {
  LowRankSegment result = segment;
  result.a = segment.b_t;
  result.a_stride = segment.b_stride;
  result.v = scale;
  return result;
}

int64_t rank_max(std::span<const LowRankSegment> segments) {
  int64_t rank = 0;
  for (const LowRankSegment& segment : segments) rank = std::max<int64_t>(rank, segment.rank);
  return rank;
}

int64_t h_floats(std::span<const LowRankSegment> segments) {
  int64_t floats = 0;
  for (const LowRankSegment& segment : segments) {
    floats = std::max(floats, segment.h_offset + static_cast<int64_t>(segment.row_count) * segment.rank);
  }
  return floats;
}

// du[out] += sum over rows of scale dy o (B h), through one dense copy of B h.
void vjp_u(Context& context, const LowRankSegment& segment, const LowRankActivations& act, float* du) {
  Arena::Mark mark(context.scratch);
  const int64_t out = act.dy.cols;
  const std::span<float> bh = context.scratch.take<float>(segment.row_count * out);
  std::fill(bh.begin(), bh.end(), 0.0f);
  LowRankSegment plain = segment;
  plain.row_begin = 0;
  plain.u = nullptr;
  plain.scale = 1.0f;
  segmented_expand(context, {&plain, 1}, act.h, {bh.data(), segment.row_count, out});
  for_cols(context, out, [&](int64_t col, int64_t count) {
    for (int64_t i = 0; i < segment.row_count; ++i) {
      context.table.vjp.product_add(act.dy.row(segment.row_begin + i) + col, bh.data() + i * out + col, segment.scale, du + col, count);
    }
  });
}

// u o dy of one segment's rows, in scratch.
ConstMatrixF scaled_dy(Context& context, const LowRankSegment& segment, ConstMatrixF dy) {
  const std::span<float> scaled = context.scratch.take<float>(segment.row_count * dy.cols);
  for_rows(context, segment.row_count, dy.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      context.table.scale(dy.row(segment.row_begin + i), segment.u, scaled.data() + i * dy.cols, dy.cols);
    }
  });
  return {scaled.data(), segment.row_count, dy.cols};
}

// dv[rank] += sum over rows of dh o (A x).
void vjp_v(Context& context, const LowRankSegment& segment, const LowRankActivations& act, float* dv) {
  Arena::Mark mark(context.scratch);
  const std::span<float> ax = context.scratch.take<float>(segment.row_count * segment.rank);
  LowRankSegment plain = segment;
  plain.v = nullptr;
  plain.h_offset = 0;
  segmented_shrink(context, {&plain, 1}, act.x, ax.data());
  for (int64_t i = 0; i < segment.row_count; ++i) {
    context.table.vjp.product_add(act.dh + segment.h_offset + i * segment.rank, ax.data() + i * segment.rank, 1.0f, dv,
                                  segment.rank);
  }
}

// factor o rows, turned: [rank][row_count] at the segment's place of `target`. factors: [rank] or null, times scale.
void turn_rows(Context& context, const LowRankSegment& segment, const float* rows, const float* factors, float scale, float* target) {
  float* turned = target + segment.h_offset;
  context.table.vjp.transpose({rows + segment.h_offset, segment.rank, segment.row_count, segment.rank}, turned, segment.row_count);
  for (int64_t r = 0; r < segment.rank; ++r) {
    const float factor = factors == nullptr ? scale : factors[r] * scale;
    for (int64_t i = 0; i < segment.row_count && factor != 1.0f; ++i) turned[r * segment.row_count + i] *= factor;
  }
}

}  // namespace

void gemm_add(Context& context, std::span<const ExpandTile> products) {
  // Slices: a panel of b (rank x kCols) stays in the second cache while rows pass.
  constexpr int64_t kCols = 256;
  constexpr int64_t kRows = 96;
  Arena::Mark mark(context.scratch);
  const std::span<int64_t> first_task = context.scratch.take<int64_t>(products.size() + 1);
  first_task[0] = 0;
  for (size_t p = 0; p < products.size(); ++p) {
    first_task[p + 1] = first_task[p] + ceil_div(products[p].rows, kRows) * ceil_div(products[p].cols, kCols);
  }
  context.pool.parallel_for(first_task.back(), [&](int64_t task, int) {
    const size_t p = std::upper_bound(first_task.begin(), first_task.end(), task) - first_task.begin() - 1;
    const ExpandTile& whole = products[p];
    const int64_t row_slices = ceil_div(whole.rows, kRows);
    const int64_t row = (task - first_task[p]) % row_slices * kRows;
    const int64_t col = (task - first_task[p]) / row_slices * kCols;
    ExpandTile part = whole;
    part.chain = true;
    part.h += row * whole.h_stride;
    part.rows = std::min(kRows, whole.rows - row);
    part.b = static_cast<const float*>(whole.b) + col;
    part.cols = std::min(kCols, whole.cols - col);
    part.y += row * whole.y_stride + col;
    context.table.expand_f32(part);
  });
}

size_t low_rank_vjp_scratch_bytes(std::span<const LowRankSegment> segments, int64_t out) {
  int64_t rows = 0, scaled_rows = 0;
  for (const LowRankSegment& segment : segments) {
    rows = std::max<int64_t>(rows, segment.row_count);
    scaled_rows += segment.u != nullptr ? segment.row_count + 16 : 0;
  }
  const int64_t count = static_cast<int64_t>(segments.size());
  const int64_t floats = 2 * h_floats(segments) + (rows + scaled_rows) * std::max(out, rank_max(segments)) + count * rank_max(segments);
  return static_cast<size_t>(floats) * sizeof(float) + count * (sizeof(LowRankSegment) + 2 * sizeof(ExpandTile)) +
         low_rank_scratch_bytes(count) + gemm_add_scratch_bytes(2 * count) + 16 * 64;
}

void segmented_expand_vjp_h(Context& context, std::span<const LowRankSegment> segments, ConstMatrixF dy, float* dh) {
  Arena::Mark mark(context.scratch);
  const std::span<LowRankSegment> shrink = context.scratch.take<LowRankSegment>(segments.size());
  const int64_t rank = rank_max(segments);
  const std::span<float> scales = context.scratch.take<float>(segments.size() * rank);
  size_t plain = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    std::fill_n(scales.begin() + s * rank, segments[s].rank, segments[s].scale);
    if (segments[s].u == nullptr) shrink[plain++] = transposed_expand(segments[s], scales.data() + s * rank);
  }
  segmented_shrink(context, shrink.first(plain), dy, dh);
  for (size_t s = 0; s < segments.size(); ++s) {  // u o dy differs from segment to segment, also over the same rows
    const LowRankSegment& segment = segments[s];
    if (segment.u == nullptr || segment.row_count == 0) continue;
    Arena::Mark row_mark(context.scratch);
    const ConstMatrixF scaled = scaled_dy(context, segment, dy);
    LowRankSegment one = transposed_expand(segment, scales.data() + s * rank);
    one.row_begin = 0;
    segmented_shrink(context, {&one, 1}, scaled, dh);
  }
}

void segmented_shrink_vjp_x(Context& context, std::span<const LowRankSegment> segments, const float* dh, MatrixF dx) {
  Arena::Mark mark(context.scratch);
  const std::span<LowRankSegment> expand = context.scratch.take<LowRankSegment>(segments.size());
  const std::span<float> scaled = context.scratch.take<float>(h_floats(segments));
  for (size_t s = 0; s < segments.size(); ++s) {
    const LowRankSegment& segment = segments[s];
    scale_rows(context.table, segment, dh + segment.h_offset, segment.v, scaled.data() + segment.h_offset);
    expand[s] = segment;
    expand[s].b_t = segment.a;
    expand[s].b_stride = segment.a_stride;
    expand[s].u = nullptr;
    expand[s].scale = 1.0f;
  }
  segmented_expand(context, expand, scaled.data(), dx);
}

void segmented_low_rank_vjp_parameters(Context& context, std::span<const LowRankSegment> segments,
                                       std::span<const LowRankGradient> gradients, const LowRankActivations& act) {
  CHECK(segments.size() == gradients.size(), "low rank: one set of gradients per segment");
  Arena::Mark mark(context.scratch);
  const std::span<ExpandTile> products = context.scratch.take<ExpandTile>(2 * segments.size());
  const std::span<float> h_t = context.scratch.take<float>(h_floats(segments));
  const std::span<float> dh_t = context.scratch.take<float>(h_floats(segments));
  size_t count = 0;
  const auto add_product = [&](const LowRankSegment& segment, const float* rows_t, ConstMatrixF b, float* y) {
    products[count++] = {.h = rows_t + segment.h_offset, .h_stride = segment.row_count, .rows = segment.rank,
                         .rank = segment.row_count, .b = b.data, .b_stride = b.stride, .cols = b.cols,
                         .u = nullptr, .scale = 1.0f, .y = y, .y_stride = b.cols};
  };
  for (size_t s = 0; s < segments.size(); ++s) {
    const LowRankSegment& segment = segments[s];
    if (segment.row_count == 0) continue;
    if (gradients[s].b_t != nullptr) {
      turn_rows(context, segment, act.h, nullptr, segment.scale, h_t.data());
      const bool scaled = segment.u != nullptr;  // the copies of all segments together have at most as many rows as dy per term
      add_product(segment, h_t.data(), scaled ? scaled_dy(context, segment, act.dy) : act.dy.middle_rows(segment.row_begin, segment.row_count),
                  gradients[s].b_t);
    }
    if (gradients[s].a != nullptr) {
      turn_rows(context, segment, act.dh, segment.v, 1.0f, dh_t.data());
      add_product(segment, dh_t.data(), act.x.middle_rows(segment.row_begin, segment.row_count), gradients[s].a);
    }
  }
  gemm_add(context, products.first(count));
  for (size_t s = 0; s < segments.size(); ++s) {
    if (gradients[s].u != nullptr) vjp_u(context, segments[s], act, gradients[s].u);
    if (gradients[s].v != nullptr) vjp_v(context, segments[s], act, gradients[s].v);
  }
}

}  // namespace umbel::kernels
