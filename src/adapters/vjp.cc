#include "adapters/vjp.h"

#include <algorithm>

#include "adapters/dropout.h"
#include "adapters/segment_terms.h"
#include "kernels/api_vjp.h"

namespace umbel {
namespace {

// Expanded rows of one pass over W: many, since a packed W is turned anew for every pass; where they end never changes a bit.
constexpr int64_t kExpandedBytesMax = int64_t{32} << 20;
constexpr int64_t kExpandedMin = 64, kExpandedMax = 512;
constexpr int32_t kOwnWeightRows = 256;  // rows of one product for the gradient of a weight saved whole
constexpr size_t kAlignment = 64;

int64_t block_rows(int64_t in, int64_t out) {
  return std::clamp<int64_t>(kExpandedBytesMax / (static_cast<int64_t>(sizeof(float)) * (in + out)), kExpandedMin, kExpandedMax);
}

// One call of apply_linear_vjp.
struct Call {
  kernels::Context& context;
  const LinearVjp& vjp;
  const Target& target;
  MatrixF dx;  // data null = not wanted

  const LinearTerms* terms(const Segment& segment) const { return terms_of(segment, vjp.index); }
  LinearGrads grads(size_t segment) const { return vjp.grads.empty() ? LinearGrads{} : vjp.grads[segment]; }
};

// dx of rows without scale terms: the rows of neighbouring segments in one product.
void plain_rows(const Call& call) {
  if (call.dx.data == nullptr) return;
  int32_t begin = 0, end = 0;  // of the run that is still to do
  const auto flush = [&](const kernels::FrozenMatrix& weight) {
    if (end > begin) {
      kernels::matmul_vjp_x(call.context, weight, call.vjp.dy.middle_rows(begin, end - begin), call.dx.middle_rows(begin, end - begin));
    }
    begin = end;
  };
  for (const Segment& segment : call.vjp.segments) {
    const LinearTerms* terms = call.terms(segment);
    const bool own = has_own_weight(terms);
    if (own || has_scale(terms) || segment.row_begin != end) {
      flush(*call.target.weight);
      begin = end = segment.row_begin;
    }
    if (has_scale(terms)) continue;
    end = segment.row_begin + segment.row_count;
    if (own) flush(*terms->own_weight);
  }
  flush(*call.target.weight);
}

// One block of expanded rows with where their gradients go.
struct Block {
  std::span<kernels::ScaledRow> rows;
  std::span<uint8_t> first;
  std::span<kernels::ScaledRowGradient> gradients;
  size_t count = 0;
  bool any_pre = false, any_post = false;

  void add(const ExpandedRow& row, const LinearGrads& grads) {
    const ScaleGrads wanted = grads.scale.empty() ? ScaleGrads{} : grads.scale[row.term];
    rows[count] = row.scaled;
    first[count] = row.term == 0;
    gradients[count++] = {wanted.pre, wanted.post};
    any_pre |= wanted.pre != nullptr;
    any_post |= wanted.post != nullptr;
  }
  kernels::ScaledRows view() const { return {rows.first(count), first.first(count), gradients.first(count)}; }
};

// u = W(pre o x) for the post sides, du = post o dy, v = W^T du for the pre sides and dx. narrow and wide: [count, in], [count, out].
void scaled_block(const Call& call, const Block& block, MatrixF narrow, MatrixF wide) {
  kernels::Context& context = call.context;
  const auto& [x, dy] = std::pair(call.vjp.x, call.vjp.dy);
  const kernels::ScaledRows rows = block.view();
  if (block.any_post) {
    kernels::gather_scaled(context, x, rows.rows, narrow);
    kernels::matmul(context, *call.target.weight, narrow, wide);
  }
  kernels::combine_scaled_vjp(context, wide, block.any_post ? rows : kernels::ScaledRows{rows.rows, rows.first, {}}, dy, wide);
  if (!block.any_pre && call.dx.data == nullptr) return;
  kernels::matmul_vjp_x(context, *call.target.weight, wide, narrow);
  kernels::gather_scaled_vjp(context, x, rows, narrow, call.dx);
}

void scaled_rows(const Call& call) {
  ExpandedRows walk(call.vjp.segments, call.vjp.index, /*scaled_only=*/true);
  if (walk.done()) return;
  const Arena::Mark mark(call.context.scratch);
  Arena& scratch = call.context.scratch;
  const int64_t size = block_rows(call.target.in, call.target.out);
  const auto rows = scratch.take<kernels::ScaledRow>(size);
  const auto first = scratch.take<uint8_t>(size);
  const auto gradients = scratch.take<kernels::ScaledRowGradient>(size);
  const MatrixF narrow(scratch.take<float>(size * call.target.in).data(), size, call.target.in);
  const MatrixF wide(scratch.take<float>(size * call.target.out).data(), size, call.target.out);
  // Without dx the products still need a place to go: their pre sides' gradients are all that is read.
  while (!walk.done()) {
    Block block{rows, first, gradients};
    while (static_cast<int64_t>(block.count) < size && !walk.done()) {
      const ExpandedRow row = walk.take();
      block.add(row, call.grads(row.segment));
    }
    const auto count = static_cast<int64_t>(block.count);
    scaled_block(call, block, narrow.middle_rows(0, count), wide.middle_rows(0, count));
  }
}

// Segments whose scale terms are one modulated product.
void modulated_rows(const Call& call) {
  for (size_t s = 0; s < call.vjp.segments.size(); ++s) {
    const Segment& segment = call.vjp.segments[s];
    if (!is_modulated(segment, call.vjp.index)) continue;
    const std::vector<ScaleTerm>& terms = call.terms(segment)->scale;
    const LinearGrads grads = call.grads(s);
    if (!grads.scale.empty()) {
      kernels::matmul_modulated_vjp_terms(call.context, *call.target.weight, terms, grads.scale,
                                          {.x = call.vjp.x, .dy = call.vjp.dy, .examples = segment.examples});
    }
    if (call.dx.data == nullptr) continue;
    kernels::matmul_modulated_vjp_x(call.context, *call.target.weight, terms, call.vjp.dy.middle_rows(segment.row_begin, segment.row_count),
                                    call.dx.middle_rows(segment.row_begin, segment.row_count));
  }
}

// The gradients of the `pass`-th low-rank terms, in the order of list_low_rank.
void list_gradients(const Call& call, size_t pass, std::span<kernels::LowRankGradient> list) {
  size_t count = 0;
  for (size_t s = 0; s < call.vjp.segments.size(); ++s) {
    if (!has_low_rank(call.vjp.segments[s], call.vjp.index, pass)) continue;
    const LinearGrads grads = call.grads(s);
    const LowRankGrads wanted = grads.low_rank.empty() ? LowRankGrads{} : grads.low_rank[pass];
    list[count++] = {.a = wanted.a, .b_t = wanted.b_t, .u = wanted.u, .v = wanted.v};
  }
}

void low_rank_rows(const Call& call) {
  kernels::Context& context = call.context;
  for (size_t pass = 0;; ++pass) {
    const size_t count = count_low_rank(call.vjp.segments, call.vjp.index, pass);
    if (count == 0) return;
    const Arena::Mark mark(context.scratch);
    const auto list = context.scratch.take<kernels::LowRankSegment>(count);
    const auto gradients = context.scratch.take<kernels::LowRankGradient>(count);
    const int64_t h_size = list_low_rank(call.vjp.segments, call.vjp.index, pass, list);
    list_gradients(call, pass, gradients);
    float* h = context.scratch.take<float>(h_size).data();
    float* dh = context.scratch.take<float>(h_size).data();
    kernels::segmented_shrink(context, list, call.vjp.x, h);
    kernels::segmented_expand_vjp_h(context, list, call.vjp.dy, dh);
    kernels::segmented_low_rank_vjp_parameters(context, list, gradients, {.x = call.vjp.x, .h = h, .dy = call.vjp.dy, .dh = dh});
    if (call.dx.data != nullptr) kernels::segmented_shrink_vjp_x(context, list, dh, call.dx);
  }
}

void biases(const Call& call) {
  for (size_t s = 0; s < call.vjp.segments.size(); ++s) {
    float* bias = call.grads(s).bias;
    if (bias == nullptr) continue;
    const Segment& segment = call.vjp.segments[s];
    const kernels::RowsGradient rows{.row_begin = segment.row_begin, .row_count = segment.row_count, .gradient = bias};
    kernels::add_bias_vjp(call.context, call.vjp.dy, {&rows, 1});
  }
}

// dW of weights saved whole: one chain over a segment's rows, so where blocks end changes no bits.
void own_weights(const Call& call) {
  for (size_t s = 0; s < call.vjp.segments.size(); ++s) {
    float* weight = call.grads(s).weight;
    const Segment& segment = call.vjp.segments[s];
    for (int32_t row = 0; weight != nullptr && row < segment.row_count; row += kOwnWeightRows) {
      const int64_t begin = segment.row_begin + row;
      const int64_t count = std::min(kOwnWeightRows, segment.row_count - row);
      kernels::matmul_vjp_w(call.context, call.vjp.dy.middle_rows(begin, count), call.vjp.x.middle_rows(begin, count),
                            {weight, call.target.out, call.target.in});
    }
  }
}

}  // namespace

void apply_linear_vjp(kernels::Context& context, const LinearVjp& call, MatrixF dx) {
  DCHECK(call.grads.empty() || call.grads.size() == call.segments.size(), "gradients of every segment, or of none");
  const Call whole{context, call, call.targets[call.index], dx};
  plain_rows(whole);
  scaled_rows(whole);
  modulated_rows(whole);
  low_rank_rows(whole);
  apply_dropped_vjp(context, call, dx);
  biases(whole);
  own_weights(whole);
}

size_t apply_linear_vjp_scratch_bytes(const LinearVjpShape& shape) {
  const auto padded = [](int64_t bytes) {
    return (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  };
  const auto& [rows, in, out, rank_max, terms_max, threads] = shape;
  const int64_t block = block_rows(in, out);
  const size_t plain = kernels::matmul_scratch_bytes(rows, out, in, threads);
  const size_t scale = padded(block * static_cast<int64_t>(sizeof(kernels::ScaledRow) + sizeof(kernels::ScaledRowGradient) + 1)) +
                       padded(block * (in + out) * 4) + 4 * kAlignment + kernels::matmul_scratch_bytes(block, out, in, threads);
  const size_t modulated = terms_max > 1 ? kernels::matmul_modulated_vjp_terms_scratch_bytes(rows, out, in, terms_max, threads) : 0;
  // One segment per row at most; all with a factor u.
  const auto segment = static_cast<int64_t>(2 * sizeof(kernels::LowRankSegment) + sizeof(kernels::LowRankGradient) + 160);
  const size_t low_rank = padded(rows * segment) + padded(rows * rank_max * 6 * 4) + padded((2 * rows + 16) * std::max(in, out) * 4) +
                          kernels::low_rank_scratch_bytes(rows) + 32 * kAlignment;
  const size_t own = kernels::matmul_vjp_w_scratch_bytes(std::min<int64_t>(rows, kOwnWeightRows), out);
  return std::max({plain, scale, modulated, low_rank, own, dropped_scratch_bytes(rows, in, out, rank_max)}) + kAlignment;
}

}  // namespace umbel
