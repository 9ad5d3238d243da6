#include "adapters/vjp.h"

#include <algorithm>

#include "adapters/apply.h"

namespace umbel {
namespace {

constexpr int32_t kBlockRows = 64;    // expanded rows in one pass over W; where blocks end never changes a bit
constexpr int64_t kColumnTask = 256;  // columns of a gradient that one task adds up
constexpr size_t kAlignment = 64;

const LinearTerms* terms_of(const Segment& segment, int32_t index) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->linear(index);
}

MatrixF take_matrix(kernels::Context& context, int64_t rows, int64_t cols) {
  return MatrixF(context.scratch.take<float>(static_cast<size_t>(rows * cols)).data(), rows, cols);
}

// body(begin, end) for ranges of [0, columns): every column belongs to one task, whatever the number of threads.
template <typename Body>
void for_columns(kernels::Context& context, int64_t columns, const Body& body) {
  const int64_t tasks = (columns + kColumnTask - 1) / kColumnTask;
  context.pool.parallel_for(
      tasks, [&](int64_t task, int) { body(task * kColumnTask, std::min(columns, (task + 1) * kColumnTask)); });
}

// sum += left o right, rows ascending.
void add_products(kernels::Context& context, ConstMatrixF left, ConstMatrixF right, float* sum) {
  for_columns(context, left.cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < left.rows; ++row) {
      const float* a = left.row(row);
      const float* b = right.row(row);
      for (int64_t i = begin; i < end; ++i) sum[i] += a[i] * b[i];
    }
  });
}

// sum[j, :] += sum_t h[t, j] wide[t, :], rows ascending.
void add_outer(kernels::Context& context, ConstMatrixF h, ConstMatrixF wide, float* sum) {
  for_columns(context, wide.cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < h.rows; ++row) {
      const float* values = wide.row(row);
      for (int64_t j = 0; j < h.cols; ++j) {
        const float factor = h.row(row)[j];
        float* target = sum + j * wide.cols;
        for (int64_t i = begin; i < end; ++i) target[i] += factor * values[i];
      }
    }
  });
}

void add_rows(kernels::Context& context, ConstMatrixF rows, float* sum) {
  for_columns(context, rows.cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows.rows; ++row) {
      for (int64_t i = begin; i < end; ++i) sum[i] += rows.row(row)[i];
    }
  });
}

// The rows of one segment.
struct Part {
  const Target& target;
  const LinearTerms& terms;
  const LinearGrads& grads;
  ConstMatrixF x;
  ConstMatrixF dy;
  MatrixF dx;  // data null = not wanted

  Part rows(int64_t begin, int64_t count) const {
    return {target,
            terms,
            grads,
            x.middle_rows(begin, count),
            dy.middle_rows(begin, count),
            dx.data == nullptr ? dx : dx.middle_rows(begin, count)};
  }
};

// scaled = vector o source, by the same kernel as the forward's.
void scale_rows(kernels::Context& context, ConstMatrixF source, const float* vector, MatrixF scaled) {
  const Arena::Mark mark(context.scratch);
  const auto list = context.scratch.take<kernels::ScaledRow>(static_cast<size_t>(source.rows));
  for (int32_t row = 0; row < source.rows; ++row) list[row] = {row, vector, nullptr};
  kernels::gather_scaled(context, source, list, scaled);
}

// dx (+)= pre o v for rows of one term.
void combine_rows(kernels::Context& context, ConstMatrixF v, const float* pre, bool first, MatrixF dx) {
  const Arena::Mark mark(context.scratch);
  const auto list = context.scratch.take<kernels::ScaledRow>(static_cast<size_t>(v.rows));
  const auto flags = context.scratch.take<uint8_t>(static_cast<size_t>(v.rows));
  for (int32_t row = 0; row < v.rows; ++row) list[row] = {row, nullptr, pre};
  std::fill(flags.begin(), flags.end(), first ? 1 : 0);
  kernels::combine_scaled(context, v, list, flags, dx);
}

// One scale term over the rows of one block.
void scale_term(kernels::Context& context, const Part& part, size_t k, bool first) {
  const Arena::Mark mark(context.scratch);
  const ScaleTerm& term = part.terms.scale[k];
  const ScaleGrads grads = part.grads.scale.empty() ? ScaleGrads{} : part.grads.scale[k];
  const int64_t rows = part.x.rows;
  if (grads.post != nullptr) {
    const Arena::Mark inner(context.scratch);
    const MatrixF scaled = take_matrix(context, rows, part.target.in);
    const MatrixF u = take_matrix(context, rows, part.target.out);
    scale_rows(context, part.x, term.pre, scaled);
    kernels::matmul(context, *part.target.weight, scaled, u);
    add_products(context, part.dy, u, grads.post);
  }
  if (grads.pre == nullptr && part.dx.data == nullptr) return;
  const MatrixF scaled = take_matrix(context, rows, part.target.out);
  const MatrixF v = take_matrix(context, rows, part.target.in);
  scale_rows(context, part.dy, term.post, scaled);
  kernels::matmul_vjp_x(context, *part.target.weight, scaled, v);
  if (grads.pre != nullptr) add_products(context, part.x, v, grads.pre);
  if (part.dx.data != nullptr) combine_rows(context, v, term.pre, first, part.dx);
}

// dx of the frozen product; gradients of the scale vectors.
void frozen_part(kernels::Context& context, const Part& part) {
  if (part.terms.scale.empty()) {
    if (part.dx.data == nullptr) return;
    const kernels::FrozenMatrix* own = part.terms.own_weight;
    for (int64_t row = 0; row < part.dy.rows; row += kBlockRows) {
      const Part block = part.rows(row, std::min<int64_t>(kBlockRows, part.dy.rows - row));
      kernels::matmul_vjp_x(context, own != nullptr ? *own : *part.target.weight, block.dy, block.dx);
    }
    return;
  }
  for (int64_t row = 0; row < part.dy.rows; row += kBlockRows) {
    const Part block = part.rows(row, std::min<int64_t>(kBlockRows, part.dy.rows - row));
    for (size_t k = 0; k < part.terms.scale.size(); ++k) scale_term(context, block, k, k == 0);
  }
}

// A term with its factors' roles exchanged: shrink by B, expand by A.
kernels::LowRankSegment mirrored(const LowRankTerm& term, int64_t rows) {
  return {.row_begin = 0,
          .row_count = static_cast<int32_t>(rows),
          .rank = term.rank,
          .dtype = term.dtype,
          .a = term.b_t,
          .b_t = term.a,
          .a_stride = term.b_stride,
          .b_stride = term.a_stride,
          .u = nullptr,
          .v = nullptr,
          .scale = 1.0f,
          .h_offset = 0};
}
kernels::LowRankSegment forward(const LowRankTerm& term, int64_t rows) {
  return {.row_begin = 0,
          .row_count = static_cast<int32_t>(rows),
          .rank = term.rank,
          .dtype = term.dtype,
          .a = term.a,
          .b_t = term.b_t,
          .a_stride = term.a_stride,
          .b_stride = term.b_stride,
          .u = nullptr,
          .v = nullptr,
          .scale = 1.0f,
          .h_offset = 0};
}

void scale_columns(MatrixF h, const float* v) {
  for (int64_t row = 0; v != nullptr && row < h.rows; ++row) {
    for (int64_t j = 0; j < h.cols; ++j) h.row(row)[j] *= v[j];
  }
}

void low_rank_term(kernels::Context& context, const Part& part, size_t index) {
  const Arena::Mark mark(context.scratch);
  const LowRankTerm& term = part.terms.low_rank[index];
  const LowRankGrads grads = part.grads.low_rank.empty() ? LowRankGrads{} : part.grads.low_rank[index];
  const int64_t rows = part.x.rows;
  const MatrixF g = take_matrix(context, rows, part.target.out);  // u o dy, later times scale
  const MatrixF dh = take_matrix(context, rows, term.rank);       // B^T g
  const MatrixF h = take_matrix(context, rows, term.rank);        // A x
  scale_rows(context, part.dy, term.u, g);
  for (int64_t row = 0; row < rows; ++row) {
    for (float& value : g.row_span(row)) value *= term.scale;
  }
  const kernels::LowRankSegment down = mirrored(term, rows);
  const kernels::LowRankSegment up = forward(term, rows);
  kernels::segmented_shrink(context, {&down, 1}, g, dh.data);
  const bool need_h = grads.v != nullptr || grads.b_t != nullptr || grads.u != nullptr;
  if (need_h) kernels::segmented_shrink(context, {&up, 1}, part.x, h.data);
  if (grads.v != nullptr) add_products(context, h, dh, grads.v);
  scale_columns(dh, term.v);
  if (need_h) scale_columns(h, term.v);
  if (grads.a != nullptr) add_outer(context, dh, part.x, grads.a);
  if (grads.b_t != nullptr) add_outer(context, h, g, grads.b_t);
  if (part.dx.data != nullptr) kernels::segmented_expand(context, {&down, 1}, dh.data, part.dx);
  if (grads.u == nullptr) return;
  for (int64_t row = 0; row < rows; ++row) std::fill(g.row(row), g.row(row) + g.cols, 0.0f);
  kernels::LowRankSegment scaled = up;
  scaled.scale = term.scale;
  kernels::segmented_expand(context, {&scaled, 1}, h.data, g);
  add_products(context, part.dy, g, grads.u);
}

}  // namespace

void apply_linear_vjp(kernels::Context& context, const LinearVjp& call, MatrixF dx) {
  static const LinearTerms kPlain;
  static const LinearGrads kNothing;
  const Target& target = call.targets[call.index];
  DCHECK(call.grads.empty() || call.grads.size() == call.segments.size(), "gradients of every segment, or of none");
  for (size_t i = 0; i < call.segments.size(); ++i) {
    const Segment& segment = call.segments[i];
    const LinearTerms* terms = terms_of(segment, call.index);
    const Part all{
        target, terms == nullptr ? kPlain : *terms, call.grads.empty() ? kNothing : call.grads[i], call.x, call.dy, dx};
    const Part part = all.rows(segment.row_begin, segment.row_count);
    frozen_part(context, part);
    for (int64_t row = 0; row < part.x.rows; row += kBlockRows) {
      const Part block = part.rows(row, std::min<int64_t>(kBlockRows, part.x.rows - row));
      for (size_t j = 0; j < part.terms.low_rank.size(); ++j) low_rank_term(context, block, j);
    }
    if (part.grads.bias != nullptr) add_rows(context, part.dy, part.grads.bias);
  }
}

size_t apply_linear_vjp_scratch_bytes(int64_t rows, int64_t in, int64_t out, int64_t rank_max, int threads) {
  const auto padded = [](int64_t bytes) {
    return (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t block = std::min<int64_t>(rows, kBlockRows);
  const size_t lists = padded(block * static_cast<int64_t>(sizeof(kernels::ScaledRow))) + padded(block);
  const size_t scale = padded(block * in * 4) + padded(block * out * 4) +
                       std::max(lists, kernels::matmul_scratch_bytes(block, out, in, threads));
  const size_t low_rank =
      padded(block * out * 4) + 2 * padded(block * rank_max * 4) + std::max(lists, kernels::low_rank_scratch_bytes(1));
  return std::max(scale, low_rank) + kAlignment;
}

}  // namespace umbel
