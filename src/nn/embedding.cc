#include "nn/embedding.h"

#include <algorithm>

#include "kernels/api_vjp.h"

namespace umbel {
namespace {

constexpr int64_t kRowsPerTask = 16;

// A tied base has one copy of the weight: the head's packed one.
void read_tied_rows(const Step& step, const Target& base, MatrixF y) {
  const int64_t tasks = (y.rows + kRowsPerTask - 1) / kRowsPerTask;
  step.context.pool.parallel_for(tasks, [&](int64_t task, int) {
    const int64_t end = std::min(y.rows, (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) base.weight->read_row(step.rows.tokens[i], y.row(i));
  });
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
  for (const int32_t token : step.rows.tokens) {
    CHECK(token >= 0 && token < base.in, "a token id outside the vocabulary reached the model");
  }
  if (base.weight != nullptr) {
    read_tied_rows(step, base, y);
  } else {
    kernels::embedding(step.context, base.table, step.rows.tokens, y);
  }
  for (const Segment& segment : step.rows.segments) {
    const EmbeddingTerms* terms = segment.adapter == nullptr ? nullptr : segment.adapter->embedding();
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

}  // namespace umbel
