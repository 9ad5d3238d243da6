#include "nn/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/api_vjp.h"
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

kernels::AttentionOptions attention_options(const Attention& attention) {
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(attention.head_dim)));
  return {.heads = attention.heads, .scale = scale};
}

void rope(const Step& step, const Attention& attention, int32_t target, MatrixF x) {
  step.note(Op::kRope, target);
  kernels::rope(step.context, step.angles, attention.head_dim, x);
}
void rope_backward(const Step& step, const Attention& attention, int32_t target, MatrixF dx) {
  step.note_mirror(Op::kRope, target);
  kernels::rope_vjp(step.context, step.angles, attention.head_dim, dx);
}

// The forward up to the mix of values; k and v of `b` stay as computed, not as stored.
void mix_values(const Step& step, const Attention& attention, const kernels::KvLayer& cache, ConstMatrixF x,
                const AttentionSaved& b) {
  kernels::Context& context = step.context;
  const MatrixF q = b.q_raw.data != nullptr ? b.q_raw : b.q;
  const MatrixF k = b.k_raw.data != nullptr ? b.k_raw : b.k;
  linear(step, attention.q, x, q);
  linear(step, attention.k, x, k);
  linear(step, attention.v, x, b.v);
  if (attention.q_norm >= 0) norm(step, attention.q_norm, attention.norm_epsilon, q, b.q);
  if (attention.k_norm >= 0) norm(step, attention.k_norm, attention.norm_epsilon, k, b.k);
  rope(step, attention, attention.q, b.q);
  rope(step, attention, attention.k, b.k);
  kernels::kv_write(context, b.k, b.v, step.rows.kv_slots, cache);
  const kernels::AttentionRows keys{.spans = step.rows.spans,
                                    .key_begin = windowed_key_begin(step, attention.window),
                                    .key_end = step.rows.key_end};
  step.note(Op::kAttention, attention.v);
  kernels::attention(context, b.q, cache, keys, attention_options(attention), b.mixed);
}

AttentionSaved take_buffers(const Step& step, const Attention& attention, int64_t rows) {
  const int64_t width = int64_t{attention.heads} * attention.head_dim;
  const int64_t kv_width = int64_t{attention.kv_heads} * attention.head_dim;
  return {.q = take_matrix(step.context, rows, width),
          .k = take_matrix(step.context, rows, kv_width),
          .v = take_matrix(step.context, rows, kv_width),
          .mixed = take_matrix(step.context, rows, width),
          .q_raw = MatrixF(nullptr, 0, 0),
          .k_raw = MatrixF(nullptr, 0, 0)};
}

// The values as a bf16 cache gives them back.
void round_as_stored(DType stored, MatrixF values) {
  if (stored != DType::kBF16) return;
  for (int64_t row = 0; row < values.rows; ++row) {
    for (float& value : values.row_span(row)) value = to_f32(to_bf16(value));
  }
}

}  // namespace

void attention_forward(const Step& step, const Attention& attention, const kernels::KvLayer& cache, ConstMatrixF x,
                       MatrixF y) {
  const Arena::Mark mark(step.context.scratch);
  const AttentionSaved buffers = take_buffers(step, attention, x.rows);
  mix_values(step, attention, cache, x, buffers);
  linear(step, attention.o, buffers.mixed, y);
}

void attention_forward_saving(const Step& step, const Attention& attention, const kernels::KvLayer& cache,
                              const AttentionSaved& saved, const Flow& flow) {
  const Arena::Mark mark(step.context.scratch);
  mix_values(step, attention, cache, flow.x, saved);
  round_as_stored(cache.dtype, saved.k);
  round_as_stored(cache.dtype, saved.v);
  linear(step, attention.o, saved.mixed, flow.y);
}

void attention_backward(const Backward& backward, const Attention& attention, ConstMatrixF x, const AttentionSaved& saved,
                        const GradientFlow& flow) {
  const Step& step = backward.step;
  const Arena::Mark mark(step.context.scratch);
  const AttentionSaved d = take_buffers(step, attention, x.rows);  // gradients of the saved matrices
  const MatrixF part = take_matrix(step.context, x.rows, x.cols);
  linear_backward(backward, attention.o, saved.mixed, {flow.dy, d.mixed});
  const kernels::AttentionRows keys{.spans = step.rows.spans,
                                    .key_begin = windowed_key_begin(step, attention.window),
                                    .key_end = step.rows.key_end};
  const kernels::AttentionInputs inputs{.q = saved.q, .k = saved.k, .v = saved.v, .kv_heads = attention.kv_heads,
                                        .head_dim = attention.head_dim};
  step.note_mirror(Op::kAttention, attention.v);
  kernels::attention_vjp(step.context, inputs, keys, attention_options(attention), d.mixed, {d.q, d.k, d.v});
  rope_backward(step, attention, attention.k, d.k);
  rope_backward(step, attention, attention.q, d.q);
  if (attention.k_norm >= 0) head_norm_backward(backward, attention.k_norm, attention.norm_epsilon, saved.k_raw, d.k);
  if (attention.q_norm >= 0) head_norm_backward(backward, attention.q_norm, attention.norm_epsilon, saved.q_raw, d.q);
  const bool wanted = flow.dx.data != nullptr;
  linear_backward(backward, attention.v, x, {d.v, flow.dx});
  linear_backward(backward, attention.k, x, {d.k, wanted ? part : flow.dx});
  if (wanted) kernels::add(step.context, part, flow.dx);
  linear_backward(backward, attention.q, x, {d.q, wanted ? part : flow.dx});
  if (wanted) kernels::add(step.context, part, flow.dx);
}

size_t attention_backward_scratch_bytes(const TargetTable& targets, const Attention& attention, const BackwardShape& shape) {
  const int64_t width = int64_t{attention.heads} * attention.head_dim;
  const int64_t kv_width = int64_t{attention.kv_heads} * attention.head_dim;
  size_t inner = std::max(kernels::attention_vjp_scratch_bytes(shape.threads, shape.span_rows_max, attention.head_dim),
                          norm_backward_scratch_bytes(shape.rows, attention.heads));
  for (const int32_t target : {attention.q, attention.k, attention.v, attention.o}) {
    inner = std::max(inner, linear_backward_scratch_bytes(targets[target], shape));
  }
  return ScratchSum().add(shape.rows * width, 2 * sizeof(float)).add(shape.rows * kv_width, 2 * sizeof(float))
             .add(shape.rows * targets[attention.q].in).add(shape.rows).bytes() + 4 * 64 + inner;
}

size_t attention_scratch_bytes(const TargetTable& targets, const Attention& attention, int64_t rows, int64_t rank_max, int threads) {
  const int64_t width = int64_t{attention.heads} * attention.head_dim;
  const int64_t kv_width = int64_t{attention.kv_heads} * attention.head_dim;
  size_t inner = std::max(norm_scratch_bytes(rows, attention.heads),
                          kernels::attention_scratch_bytes(threads > 0 ? threads : kThreadsMax, rows, attention.head_dim));
  for (const int32_t target : {attention.q, attention.k, attention.v, attention.o}) {
    inner = std::max(inner, linear_scratch_bytes(targets[target], rows, rank_max, threads));
  }
  return ScratchSum().add(rows * width, 2 * sizeof(float)).add(rows * kv_width, 2 * sizeof(float)).add(rows).bytes() +
         3 * 64 + inner;
}

}  // namespace umbel
