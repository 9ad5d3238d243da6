#include "adapters/apply.h"

#include <algorithm>

#include "adapters/dropout.h"
#include "adapters/segment_terms.h"

namespace umbel {
namespace {

// Expanded rows of one block take at most about this much scratch, so that a wide head does not need a huge arena.
constexpr int64_t kExpandedBytesMax = int64_t{32} << 20;
constexpr int32_t kExpandedRowsMin = 16;
constexpr size_t kAlignment = 64;

// Where blocks end never changes a bit: the products of one row are added in term order whatever the cut.
int32_t block_rows(int64_t in, int64_t out) {
  const int64_t fitting = kExpandedBytesMax / (static_cast<int64_t>(sizeof(float)) * (in + out));
  return static_cast<int32_t>(std::clamp<int64_t>(fitting, kExpandedRowsMin, kExpandedRowsMax));
}

// One call of apply_linear.
struct Job {
  kernels::Context& context;
  const Target& target;
  int32_t index;
  Segments segments;
  ConstMatrixF x;
  MatrixF y;
};

void apply_expanded(const Job& job) {
  const auto& [context, target, index, segments, x, y] = job;
  ExpandedRows rows(segments, index);
  const Arena::Mark mark(context.scratch);
  const int32_t block = block_rows(target.in, target.out);
  const auto list = context.scratch.take<kernels::ScaledRow>(block);
  const auto first = context.scratch.take<uint8_t>(block);
  const MatrixF expanded(context.scratch.take<float>(block * target.in).data(), block, target.in);
  const MatrixF product(context.scratch.take<float>(block * target.out).data(), block, target.out);
  while (!rows.done()) {
    int32_t count = 0;
    while (count < block && !rows.done()) {
      const ExpandedRow row = rows.take();
      list[count] = row.scaled;
      first[count++] = row.term == 0;
    }
    const auto scaled = std::span<const kernels::ScaledRow>(list.first(count));
    kernels::gather_scaled(context, x, scaled, expanded.middle_rows(0, count));
    kernels::matmul(context, *target.weight, expanded.middle_rows(0, count), product.middle_rows(0, count));
    kernels::combine_scaled(context, product.middle_rows(0, count), scaled, first.first(count), y);
  }
}

// Rows through weights of their own or modulated ones, and, when no row is expanded, the rows between them through the base's.
void apply_direct(const Job& job, bool base_rows) {
  int32_t begin = 0;  // of the run of base rows that is still to do
  const auto flush = [&](int32_t end) {
    if (!base_rows || end <= begin) return;
    kernels::matmul(job.context, *job.target.weight, job.x.middle_rows(begin, end - begin),
                    job.y.middle_rows(begin, end - begin));
  };
  for (const Segment& segment : job.segments) {
    const LinearTerms* terms = terms_of(segment, job.index);
    const bool modulated = is_modulated(segment, job.index);
    if (!modulated && !has_own_weight(terms)) continue;
    flush(segment.row_begin);
    const ConstMatrixF x = job.x.middle_rows(segment.row_begin, segment.row_count);
    const MatrixF y = job.y.middle_rows(segment.row_begin, segment.row_count);
    if (modulated) {
      kernels::matmul_modulated(job.context, *job.target.weight, terms->scale, x, y);
    } else {
      kernels::matmul(job.context, *terms->own_weight, x, y);
    }
    begin = segment.row_begin + segment.row_count;
  }
  flush(static_cast<int32_t>(job.x.rows));
}

// The j-th low-rank term of every segment in one pass; rows with several terms get them in order.
void add_low_rank(kernels::Context& context, int32_t index, Segments segments, ConstMatrixF x, MatrixF y) {
  for (size_t pass = 0;; ++pass) {
    const Arena::Mark mark(context.scratch);
    const size_t count = count_low_rank(segments, index, pass);
    if (count == 0) return;
    const auto list = context.scratch.take<kernels::LowRankSegment>(count);
    const int64_t h_size = list_low_rank(segments, index, pass, list);
    float* h = context.scratch.take<float>(h_size).data();
    kernels::segmented_shrink(context, list, x, h);
    kernels::segmented_expand(context, list, h, y);
  }
}

void add_biases(kernels::Context& context, const Target& target, int32_t index, Segments segments, MatrixF y) {
  const bool own = std::any_of(segments.begin(), segments.end(), [&](const Segment& segment) {
    const LinearTerms* terms = terms_of(segment, index);
    return terms != nullptr && terms->bias != nullptr;
  });
  if (!own) {
    if (target.vector != nullptr) kernels::add_bias(context, {.shared = target.vector}, y);
    return;
  }
  const Arena::Mark mark(context.scratch);
  const auto each = context.scratch.take<const float*>(y.rows);
  for (const Segment& segment : segments) {
    const LinearTerms* terms = terms_of(segment, index);
    const float* bias = terms != nullptr && terms->bias != nullptr ? terms->bias : target.vector;
    std::fill_n(each.begin() + segment.row_begin, segment.row_count, bias);
  }
  kernels::add_bias(context, {.each = each}, y);
}

// Whether every row is one of an adapter whose own weight has this many outputs.
bool all_own(Segments segments, int32_t index, int64_t out) {
  return !segments.empty() && std::all_of(segments.begin(), segments.end(), [&](const Segment& segment) {
    const LinearTerms* terms = terms_of(segment, index);
    return has_own_weight(terms) && terms->own_weight->out() == out;
  });
}

}  // namespace

void apply_linear(kernels::Context& context, const TargetTable& targets, int32_t index, Segments segments,
                  ConstMatrixF x, MatrixF y) {
  const Target& target = targets[index];
  DCHECK(x.cols == target.in && x.rows == y.rows, "apply_linear: shapes");
  DCHECK(y.cols == target.out || all_own(segments, index, y.cols), "apply_linear: the outputs of the weights");
  bool any_expanded = false;
  for (const Segment& segment : segments) any_expanded |= is_expanded(segment, index);
  const Job job{context, target, index, segments, x, y};
  apply_direct(job, /*base_rows=*/!any_expanded);
  if (any_expanded) apply_expanded(job);
  add_low_rank(context, index, segments, x, y);
  apply_dropped(context, segments, index, x, y);
  add_biases(context, target, index, segments, y);
}

size_t apply_linear_scratch_bytes(int64_t rows, int64_t in, int64_t out, int64_t rank_max, int threads) {
  const auto padded = [](int64_t bytes) {
    return (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t block = block_rows(in, out);
  const size_t direct = kernels::matmul_forward_scratch_bytes(rows, in, threads);
  const size_t expanded = padded(block * static_cast<int64_t>(sizeof(kernels::ScaledRow))) + padded(block) +
                          padded(block * in * 4) + padded(block * out * 4) +
                          kernels::matmul_forward_scratch_bytes(block, in, threads);
  const size_t low_rank = padded(rows * static_cast<int64_t>(sizeof(kernels::LowRankSegment))) +
                          padded(rows * rank_max * 4) + kernels::low_rank_scratch_bytes(rows);
  const size_t bias = padded(rows * static_cast<int64_t>(sizeof(float*)));
  return std::max({direct, expanded, low_rank, dropped_scratch_bytes(rows, in, out, rank_max), bias}) + kAlignment;
}

}  // namespace umbel
