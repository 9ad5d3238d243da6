// Segmented shrink and expand: one parallel region each, whatever the number of segments.
#include <algorithm>

#include "kernels/api.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

// Multiplications that are worth a task.
constexpr int64_t kTaskWork = 65536;
// Rows of one shrink task: enough to reuse a slice of A from the cache, few enough to balance.
constexpr int64_t kShrinkRowsPerTask = 64;

// How one segment's [row_count, rank] outputs are cut: task -> (row slice, rank slice).
struct ShrinkCut {
  int64_t rows_per_task;
  int64_t ranks_per_task;
  int64_t row_slices;
  int64_t rank_slices;
};

ShrinkCut cut_shrink(const LowRankSegment& segment, int64_t in) {
  ShrinkCut cut;
  cut.rows_per_task = std::min<int64_t>(segment.row_count, kShrinkRowsPerTask);
  const int64_t ranks = kTaskWork / std::max<int64_t>(1, cut.rows_per_task * in);
  cut.ranks_per_task = std::clamp<int64_t>(ceil_div(ranks, 24) * 24, 24, segment.rank > 0 ? std::max(24, segment.rank) : 24);
  cut.row_slices = ceil_div(segment.row_count, cut.rows_per_task);
  cut.rank_slices = ceil_div(segment.rank, cut.ranks_per_task);
  return cut;
}

void check_segments(std::span<const LowRankSegment> segments, int64_t rows, int64_t in, int64_t out) {
  for (const LowRankSegment& segment : segments) {
    CHECK(segment.row_begin >= 0 && segment.row_count >= 0 && segment.row_begin + segment.row_count <= rows,
          "low rank: a segment outside the rows");
    CHECK(segment.rank >= 0 && segment.a_stride >= in && segment.b_stride >= out, "low rank: strides below the extents");
    CHECK(segment.dtype == DType::kF32 || segment.dtype == DType::kBF16, "low rank: f32 or bf16");
  }
}

const void* element(const void* base, DType dtype, int64_t offset) {
  return static_cast<const char*>(base) + offset * static_cast<int64_t>(size_of(dtype));
}

void shrink_task(const Table& table, const LowRankSegment& segment, int64_t index, ConstMatrixF x, float* h) {
  const ShrinkCut cut = cut_shrink(segment, x.cols);
  const int64_t row = index / cut.rank_slices * cut.rows_per_task;
  const int64_t rank = index % cut.rank_slices * cut.ranks_per_task;
  const ShrinkTile tile = {
      .x = x.row(segment.row_begin + row),
      .x_stride = x.stride,
      .rows = std::min(cut.rows_per_task, segment.row_count - row),
      .in = x.cols,
      .a = element(segment.a, segment.dtype, rank * segment.a_stride),
      .a_stride = segment.a_stride,
      .rank = std::min(cut.ranks_per_task, segment.rank - rank),
      .v = segment.v == nullptr ? nullptr : segment.v + rank,
      .h = h + segment.h_offset + row * segment.rank + rank,
      .h_stride = segment.rank,
  };
  (segment.dtype == DType::kF32 ? table.shrink_f32 : table.shrink_bf16)(tile);
}

// All segments' contributions to the rectangle [row_begin, row_end) x [col_begin, col_end) of y, in the order given.
struct Rectangle {
  int64_t row_begin, row_end, col_begin, col_end;
};
void expand_rectangle(const Table& table, std::span<const LowRankSegment> segments, const float* h, MatrixF y,
                      const Rectangle& part) {
  for (const LowRankSegment& segment : segments) {
    const int64_t begin = std::max<int64_t>(part.row_begin, segment.row_begin);
    const int64_t end = std::min<int64_t>(part.row_end, segment.row_begin + segment.row_count);
    if (begin >= end) continue;
    const ExpandTile tile = {
        .h = h + segment.h_offset + (begin - segment.row_begin) * segment.rank,
        .h_stride = segment.rank,
        .rows = end - begin,
        .rank = segment.rank,
        .b = element(segment.b_t, segment.dtype, part.col_begin),
        .b_stride = segment.b_stride,
        .cols = part.col_end - part.col_begin,
        .u = segment.u == nullptr ? nullptr : segment.u + part.col_begin,
        .scale = segment.scale,
        .y = y.row(begin) + part.col_begin,
        .y_stride = y.stride,
    };
    (segment.dtype == DType::kF32 ? table.expand_f32 : table.expand_bf16)(tile);
  }
}

}  // namespace

size_t low_rank_scratch_bytes(int64_t segments) { return static_cast<size_t>(segments + 1) * sizeof(int64_t) + 64; }

void segmented_shrink(Context& context, std::span<const LowRankSegment> segments, ConstMatrixF x, float* h) {
  check_segments(segments, x.rows, x.cols, 0);
  Arena::Mark mark(context.scratch);
  // first_task[s]: the number of tasks of all segments before s.
  const std::span<int64_t> first_task = context.scratch.take<int64_t>(segments.size() + 1);
  first_task[0] = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    const bool empty = segments[s].row_count == 0 || segments[s].rank == 0;
    const ShrinkCut cut = empty ? ShrinkCut{} : cut_shrink(segments[s], x.cols);
    first_task[s + 1] = first_task[s] + (empty ? 0 : cut.row_slices * cut.rank_slices);
  }
  context.pool.parallel_for(first_task.back(), [&](int64_t task, int) {
    const size_t s = std::upper_bound(first_task.begin(), first_task.end(), task) - first_task.begin() - 1;
    shrink_task(context.table, segments[s], task - first_task[s], x, h);
  });
}

void segmented_expand(Context& context, std::span<const LowRankSegment> segments, const float* h, MatrixF y) {
  check_segments(segments, y.rows, 0, y.cols);
  if (segments.empty() || y.cols == 0) return;
  int64_t row_first = y.rows;
  int64_t row_last = 0;
  int64_t work = 0;
  for (const LowRankSegment& segment : segments) {
    row_first = std::min<int64_t>(row_first, segment.row_begin);
    row_last = std::max<int64_t>(row_last, segment.row_begin + segment.row_count);
    work += static_cast<int64_t>(segment.row_count) * std::max(1, segment.rank) * y.cols;
  }
  if (row_first >= row_last) return;
  // y is cut into rectangles, each owned by one task: so segments may overlap, and need no locks.
  constexpr int64_t kCols = 512;
  constexpr int64_t kRows = 96;
  const int64_t col_slices = ceil_div(y.cols, kCols);
  int64_t rows_per_task = row_last - row_first;
  if (work / col_slices > kTaskWork) rows_per_task = std::min(rows_per_task, kRows);
  const int64_t row_slices = ceil_div(row_last - row_first, rows_per_task);
  context.pool.parallel_for(row_slices * col_slices, [&](int64_t task, int) {
    const int64_t row = row_first + task / col_slices * rows_per_task;
    const int64_t col = task % col_slices * kCols;
    expand_rectangle(context.table, segments, h, y,
                     {row, std::min(row_last, row + rows_per_task), col, std::min(y.cols, col + kCols)});
  });
}

}  // namespace umbel::kernels
