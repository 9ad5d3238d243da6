#include "nn/attention.h"

#include <algorithm>
#include <cmath>

#include "nn/linear.h"
#include "nn/norm.h"

namespace umbel {
namespace {

// First key of every row once the layer's window is applied: a row at position p sees the keys p + 1 - window .. p.
std::span<const int32_t> windowed_key_begin(const Step& step, int64_t window) {
  const Rows& rows = step.rows;
  if (window == 0) return rows.key_begin;
  const auto begin = step.context.scratch.take<int32_t>(static_cast<size_t>(rows.count()));
  for (int64_t i = 0; i < rows.count(); ++i) {
    const int64_t first = std::max<int64_t>(0, rows.positions[i] + 1 - window);
    begin[i] = std::max(rows.key_begin[i], static_cast<int32_t>(first));
  }
  return begin;
}

}  // namespace

void attention_forward(const Step& step, const Attention& attention, const kernels::KvLayer& cache, ConstMatrixF x,
                       MatrixF y) {
  kernels::Context& context = step.context;
  const Arena::Mark mark(context.scratch);
  const int64_t width = int64_t{attention.heads} * attention.head_dim;
  const int64_t kv_width = int64_t{attention.kv_heads} * attention.head_dim;
  const MatrixF q = take_matrix(context, x.rows, width);
  const MatrixF k = take_matrix(context, x.rows, kv_width);
  const MatrixF v = take_matrix(context, x.rows, kv_width);
  const MatrixF mixed = take_matrix(context, x.rows, width);
  const auto key_begin = windowed_key_begin(step, attention.window);

  linear(step, attention.q, x, q);
  linear(step, attention.k, x, k);
  linear(step, attention.v, x, v);
  if (attention.q_norm >= 0) norm(step, attention.q_norm, attention.norm_epsilon, q, q);
  if (attention.k_norm >= 0) norm(step, attention.k_norm, attention.norm_epsilon, k, k);
  kernels::rope(context, step.angles, attention.head_dim, q);
  kernels::rope(context, step.angles, attention.head_dim, k);
  kernels::kv_write(context, k, v, step.rows.kv_slots, cache);
  const kernels::AttentionRows keys{.spans = step.rows.spans, .key_begin = key_begin, .key_end = step.rows.key_end};
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(attention.head_dim)));
  kernels::attention(context, q, cache, keys, {.heads = attention.heads, .scale = scale}, mixed);
  linear(step, attention.o, mixed, y);
}

size_t attention_scratch_bytes(const TargetTable& targets, const Attention& attention, int64_t rows, int64_t rank_max) {
  const int64_t width = int64_t{attention.heads} * attention.head_dim;
  const int64_t kv_width = int64_t{attention.kv_heads} * attention.head_dim;
  size_t inner = std::max(norm_scratch_bytes(rows, attention.heads),
                          kernels::attention_scratch_bytes(kThreadsMax, rows, attention.head_dim));
  for (const int32_t target : {attention.q, attention.k, attention.v, attention.o}) {
    inner = std::max(inner, linear_scratch_bytes(targets[target], rows, rank_max));
  }
  return ScratchSum().add(rows * width, 2 * sizeof(float)).add(rows * kv_width, 2 * sizeof(float)).add(rows).bytes() +
         3 * 64 + inner;
}

}  // namespace umbel
