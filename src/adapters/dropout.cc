#include "adapters/dropout.h"

#include <algorithm>

#include "adapters/segment_terms.h"
#include "base/random.h"
#include "kernels/api_vjp.h"

namespace umbel {
namespace {

constexpr int64_t kBlockRows = 256;  // masked at once; gradients add row by row, so where blocks end never changes a bit
constexpr int64_t kMaskColumns = 256;
constexpr int64_t kWords = 4;  // of one draw
constexpr size_t kAlignment = 64;

// A block of rows of one segment, and what becomes of them.
struct Block {
  const Segment& segment;
  const LinearTerms& terms;
  int32_t target;
  int64_t begin;  // within the segment
  int64_t count;

  int64_t row() const { return segment.row_begin + begin; }
  kernels::LowRankSegment low_rank(const LowRankTerm& term) const {
    return {.row_begin = 0,
            .row_count = static_cast<int32_t>(count),
            .rank = term.rank,
            .dtype = term.dtype,
            .a = term.a,
            .b_t = term.b_t,
            .a_stride = term.a_stride,
            .b_stride = term.b_stride,
            .u = term.u,
            .v = term.v,
            .scale = term.scale,
            .h_offset = 0};
  }
};

template <typename Body>
void for_blocks(Segments segments, int32_t index, const Body& body) {
  for (size_t s = 0; s < segments.size(); ++s) {
    if (!is_dropped(segments[s], index)) continue;
    for (int64_t begin = 0; begin < segments[s].row_count; begin += kBlockRows) {
      const int64_t count = std::min<int64_t>(kBlockRows, segments[s].row_count - begin);
      body(s, Block{segments[s], *terms_of(segments[s], index), index, begin, count});
    }
  }
}

void fill_mask(uint64_t stream, float rate, int64_t first, std::span<float> mask) {
  const auto threshold = static_cast<uint64_t>(static_cast<double>(rate) * 0x1p32);
  const float kept = 1.0f / (1.0f - rate);
  for (size_t i = 0; i < mask.size(); i += kWords) {
    const auto words = philox(stream, {static_cast<uint32_t>((first + static_cast<int64_t>(i)) / kWords), 0, 0, 0});
    for (size_t j = 0; j < std::min<size_t>(kWords, mask.size() - i); ++j) mask[i + j] = words[j] < threshold ? 0.0f : kept;
  }
}

// to (=, or += when adding) mask o from, row by row of the block. from and to: [count, in].
void masked(kernels::Context& context, const Block& block, ConstMatrixF from, MatrixF to, kernels::Write write) {
  context.pool.parallel_for(block.count, [&](int64_t row, int) {
    const uint64_t stream = mix_key({block.segment.dropout_keys[block.begin + row], static_cast<uint64_t>(block.target)});
    float mask[kMaskColumns];
    for (int64_t begin = 0; begin < from.cols; begin += kMaskColumns) {
      const int64_t count = std::min(kMaskColumns, from.cols - begin);
      fill_mask(stream, block.terms.dropout, begin, {mask, static_cast<size_t>(count)});
      const float* source = from.row(row) + begin;
      float* target = to.row(row) + begin;
      for (int64_t i = 0; i < count; ++i) {
        const float value = mask[i] * source[i];
        target[i] = write == kernels::Write::kAdd ? target[i] + value : value;
      }
    }
  });
}

MatrixF take(kernels::Context& context, int64_t rows, int64_t cols) {
  return MatrixF(context.scratch.take<float>(static_cast<size_t>(rows * cols)).data(), rows, cols);
}

}  // namespace

void dropout_mask(uint64_t key, int32_t target, float rate, std::span<float> mask) {
  fill_mask(mix_key({key, static_cast<uint64_t>(target)}), rate, 0, mask);
}

void apply_dropped(kernels::Context& context, Segments segments, int32_t index, ConstMatrixF x, MatrixF y) {
  for_blocks(segments, index, [&](size_t, const Block& block) {
    const Arena::Mark mark(context.scratch);
    const MatrixF dropped = take(context, block.count, x.cols);
    masked(context, block, x.middle_rows(block.row(), block.count), dropped, kernels::Write::kOverwrite);
    for (const LowRankTerm& term : block.terms.low_rank) {
      const Arena::Mark inner(context.scratch);
      const kernels::LowRankSegment segment = block.low_rank(term);
      float* h = take(context, block.count, term.rank).data;
      kernels::segmented_shrink(context, {&segment, 1}, dropped, h);
      kernels::segmented_expand(context, {&segment, 1}, h, y.middle_rows(block.row(), block.count));
    }
  });
}

void apply_dropped_vjp(kernels::Context& context, const LinearVjp& call, MatrixF dx) {
  for_blocks(call.segments, call.index, [&](size_t s, const Block& block) {
    const Arena::Mark mark(context.scratch);
    const MatrixF dropped = take(context, block.count, call.x.cols);
    const MatrixF back = take(context, block.count, call.x.cols);
    const ConstMatrixF dy = call.dy.middle_rows(block.row(), block.count);
    masked(context, block, call.x.middle_rows(block.row(), block.count), dropped, kernels::Write::kOverwrite);
    std::fill_n(back.data, block.count * call.x.cols, 0.0f);
    for (size_t j = 0; j < block.terms.low_rank.size(); ++j) {
      const Arena::Mark inner(context.scratch);
      const kernels::LowRankSegment segment = block.low_rank(block.terms.low_rank[j]);
      const LinearGrads wanted = call.grads.empty() ? LinearGrads{} : call.grads[s];
      const LowRankGrads grads = wanted.low_rank.empty() ? LowRankGrads{} : wanted.low_rank[j];
      const kernels::LowRankGradient gradient{.a = grads.a, .b_t = grads.b_t, .u = grads.u, .v = grads.v};
      float* h = take(context, block.count, segment.rank).data;
      float* dh = take(context, block.count, segment.rank).data;
      kernels::segmented_shrink(context, {&segment, 1}, dropped, h);
      kernels::segmented_expand_vjp_h(context, {&segment, 1}, dy, dh);
      kernels::segmented_low_rank_vjp_parameters(context, {&segment, 1}, {&gradient, 1}, {.x = dropped, .h = h, .dy = dy, .dh = dh});
      if (dx.data != nullptr) kernels::segmented_shrink_vjp_x(context, {&segment, 1}, dh, back);
    }
    if (dx.data != nullptr) masked(context, block, back, dx.middle_rows(block.row(), block.count), kernels::Write::kAdd);
  });
}

size_t dropped_scratch_bytes(int64_t rows, int64_t in, int64_t out, int64_t rank_max) {
  const int64_t block = std::min(rows, kBlockRows);
  const auto padded = [](int64_t floats) {
    return (static_cast<size_t>(floats) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  };
  static constexpr float kAnyU = 1.0f;
  const kernels::LowRankSegment widest{.row_begin = 0,
                                       .row_count = static_cast<int32_t>(block),
                                       .rank = static_cast<int32_t>(rank_max),
                                       .dtype = DType::kF32,
                                       .a = nullptr,
                                       .b_t = nullptr,
                                       .a_stride = in,
                                       .b_stride = out,
                                       .u = &kAnyU,
                                       .v = nullptr,
                                       .scale = 1.0f,
                                       .h_offset = 0};
  return 2 * padded(block * in) + 2 * padded(block * rank_max) + kernels::low_rank_vjp_scratch_bytes({&widest, 1}, std::max(in, out)) +
         4 * kAlignment;
}

}  // namespace umbel
