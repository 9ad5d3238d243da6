#include "nn/embedding.h"

#include <algorithm>

#include "kernels/api_vjp.h"

namespace umbel {
namespace {

constexpr int64_t kRowsPerTask = 16;

// A tied base has one copy of the weight: the head's packed one.
void read_tied_rows(const Step& step, const Target& base, std::span<const int32_t> tokens, MatrixF y) {
  const int64_t tasks = (y.rows + kRowsPerTask - 1) / kRowsPerTask;
  step.context.pool.parallel_for(tasks, [&](int64_t task, int) {
    const int64_t end = std::min(y.rows, (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) base.weight->read_row(tokens[i], y.row(i));
  });
}

// Rows [begin, end) out of the base's table.
void read_base_rows(const Step& step, const Target& base, int32_t begin, int32_t end, MatrixF y) {
  if (end <= begin) return;
  const auto tokens = step.rows.tokens.subspan(begin, end - begin);
  const MatrixF rows = y.middle_rows(begin, end - begin);
  if (base.weight != nullptr) {
    read_tied_rows(step, base, tokens, rows);
  } else {
    kernels::embedding(step.context, base.table, tokens, rows);
  }
}

const EmbeddingTerms* terms_of(const Segment& segment) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->embedding();
}

bool has_own_table(const EmbeddingTerms* terms) { return terms != nullptr && terms->own_table != nullptr; }

void check_tokens(const Step& step, const Segment& segment, int64_t vocab) {
  const EmbeddingTerms* terms = terms_of(segment);
  const int64_t rows = has_own_table(terms) && terms->table_rows > 0 ? terms->table_rows : vocab;
  for (const int32_t token : step.rows.tokens.subspan(segment.row_begin, segment.row_count)) {
    CHECK(token >= 0 && token < rows, "a token id outside the vocabulary reached the model");
  }
}

// y += scale * B (A[:, token]), the sum over the rank first, as PEFT orders it.
void add_low_rank(const EmbeddingTerms& terms, int32_t token, std::span<float> low, std::span<float> y) {
  const float* a = terms.a_t + int64_t{token} * terms.rank;
  const int64_t dim = static_cast<int64_t>(y.size());
  for (int64_t begin = 0; begin < dim; begin += static_cast<int64_t>(low.size())) {
    const int64_t count = std::min<int64_t>(dim - begin, static_cast<int64_t>(low.size()));
    std::fill_n(low.begin(), count, 0.0f);
    for (int32_t r = 0; r < terms.rank; ++r) {
      const float* b = terms.b_t + r * dim + begin;
      for (int64_t i = 0; i < count; ++i) low[i] += a[r] * b[i];
    }
    for (int64_t i = 0; i < count; ++i) y[begin + i] += terms.scale * low[i];
  }
}

// Of y += scale * B (A[:, token]): da_t[token] += scale * B^T dy, db_t += scale * A[:, token] dy^T.
void add_low_rank_gradients(const EmbeddingTerms& terms, const LowRankGrads& grads, int32_t token, std::span<const float> dy) {
  constexpr size_t kLanes = 8;  // partial sums of a product, in a fixed order
  const float* a = terms.a_t + int64_t{token} * terms.rank;
  for (int32_t r = 0; r < terms.rank; ++r) {
    const float* b = terms.b_t + static_cast<size_t>(r) * dy.size();
    float* db = grads.b_t + static_cast<size_t>(r) * dy.size();
    const float factor = terms.scale * a[r];
    float sums[kLanes] = {};
    for (size_t i = 0; i < dy.size(); ++i) {
      db[i] += factor * dy[i];
      sums[i % kLanes] += b[i] * dy[i];
    }
    float sum = 0.0f;
    for (const float lane : sums) sum += lane;
    grads.a[int64_t{token} * terms.rank + r] += terms.scale * sum;
  }
}

void apply_row(const EmbeddingTerms& terms, int32_t token, std::span<float> y) {
  const int64_t dim = static_cast<int64_t>(y.size());
  if (terms.own_table != nullptr) std::copy_n(terms.own_table + token * dim, dim, y.begin());
  if (terms.rank > 0) {
    float low[64];
    add_low_rank(terms, token, low, y);
  }
  const auto& replaced = terms.replaced_tokens;
  const auto found = std::lower_bound(replaced.begin(), replaced.end(), token);
  if (found != replaced.end() && *found == token) {
    std::copy_n(terms.replaced_rows + (found - replaced.begin()) * dim, dim, y.begin());
  }
}

}  // namespace

void embedding_forward(const Step& step, int32_t target, MatrixF y) {
  step.note(Op::kEmbedding, target);
  const Target& base = step.targets[target];
  int32_t begin = 0;  // of the run of rows that the base's table is still to be read for
  for (const Segment& segment : step.rows.segments) {
    check_tokens(step, segment, base.in);
    if (!has_own_table(terms_of(segment))) continue;
    read_base_rows(step, base, begin, segment.row_begin, y);
    begin = segment.row_begin + segment.row_count;
  }
  read_base_rows(step, base, begin, static_cast<int32_t>(y.rows), y);
  for (const Segment& segment : step.rows.segments) {
    const EmbeddingTerms* terms = terms_of(segment);
    if (terms == nullptr) continue;
    for (int32_t i = segment.row_begin; i < segment.row_begin + segment.row_count; ++i) {
      apply_row(*terms, step.rows.tokens[i], y.row_span(i));
    }
  }
}

void embedding_backward(const Backward& backward, int32_t target, ConstMatrixF dy) {
  const Step& step = backward.step;
  step.note_mirror(Op::kEmbedding, target);
  const auto grads = backward.gradients[target];
  const Target& base = step.targets[target];
  for (size_t s = 0; s < grads.size(); ++s) {
    const Segment& segment = step.rows.segments[s];
    if (!grads[s].low_rank.empty()) {
      for (int32_t i = segment.row_begin; i < segment.row_begin + segment.row_count; ++i) {
        add_low_rank_gradients(*segment.adapter->embedding(), grads[s].low_rank[0], step.rows.tokens[i], {dy.row(i), static_cast<size_t>(dy.cols)});
      }
    }
    if (grads[s].weight == nullptr) continue;
    kernels::embedding_vjp(step.context, step.rows.tokens.subspan(segment.row_begin, segment.row_count),
                           dy.middle_rows(segment.row_begin, segment.row_count), {grads[s].weight, base.in, base.out});
  }
}

void positions_forward(const Step& step, int32_t target, MatrixF y) {
  step.note(Op::kPositions, target);
  const Arena::Mark mark(step.context.scratch);
  const MatrixF rows = take_matrix(step.context, y.rows, y.cols);
  const Target& base = step.targets[target];
  kernels::embedding(step.context, base.table, step.rows.positions, rows);
  for (const Segment& segment : step.rows.segments) {
    const float* own = segment.adapter == nullptr ? nullptr : segment.adapter->positions();
    if (own == nullptr) continue;
    kernels::embedding(step.context, {DType::kF32, base.table.shape, own}, step.rows.positions.subspan(segment.row_begin, segment.row_count),
                       rows.middle_rows(segment.row_begin, segment.row_count));
  }
  kernels::add(step.context, rows, y);
}

size_t positions_scratch_bytes(const TargetTable& targets, int32_t target, int64_t rows) {
  return ScratchSum().add(rows * targets[target].out).bytes();
}

void positions_backward(const Backward& backward, int32_t target, ConstMatrixF dy) {
  const Step& step = backward.step;
  step.note_mirror(Op::kPositions, target);
  const auto grads = backward.gradients[target];
  const Target& base = step.targets[target];
  for (size_t s = 0; s < grads.size(); ++s) {
    if (grads[s].weight == nullptr) continue;
    const Segment& segment = step.rows.segments[s];
    kernels::embedding_vjp(step.context, step.rows.positions.subspan(segment.row_begin, segment.row_count),
                           dy.middle_rows(segment.row_begin, segment.row_count), {grads[s].weight, base.in, base.out});
  }
}

}  // namespace umbel
