#include "nn/attention.h"

#include <algorithm>

#include "kernels/api_vjp.h"
#include "nn/linear.h"

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

kernels::AttentionOptions options_of(const Attention& a) { return {.heads = a.heads, .scale = a.scale, .cap = a.cap}; }

// The projection that q, k or v comes out of, for traces.
int32_t source(const Attention& a, int32_t apart) { return a.qkv >= 0 ? a.qkv : apart; }

void rope(const Step& step, const Attention& a, int32_t target, MatrixF x) {
  if (a.rope < 0) return;
  step.note(Op::kRope, target);
  kernels::rope(step.context, step.angles[a.rope], a.head_dim, x);
}
void rope_backward(const Step& step, const Attention& a, int32_t target, MatrixF dx) {
  if (a.rope < 0) return;
  step.note_mirror(Op::kRope, target);
  kernels::rope_vjp(step.context, step.angles[a.rope], a.head_dim, dx);
}

// Views of q, k and v in qkv, in its order of blocks.
void split(const Attention& a, MatrixF qkv, AttentionSaved& into) {
  into.qkv = qkv;
  into.q = columns(qkv, 0, a.width());
  into.k = columns(qkv, a.width(), a.kv_width());
  into.v = columns(qkv, a.width() + a.kv_width(), a.kv_width());
}

// Part 0, 1, 2 = q, k, v: from the projection's order of heads to that of blocks, and back.
kernels::HeadCopy to_blocks(const Attention& a, int64_t part) {
  return {.count = a.heads, .dim = a.head_dim, .from = part * a.head_dim, .from_stride = int64_t{3} * a.head_dim,
          .to = part * a.width(), .to_stride = a.head_dim};
}
kernels::HeadCopy from_blocks(const Attention& a, int64_t part) {
  const kernels::HeadCopy forward = to_blocks(a, part);
  return {.count = forward.count, .dim = forward.dim, .from = forward.to, .from_stride = forward.to_stride, .to = forward.from,
          .to_stride = forward.from_stride};
}

void project_fused(const Step& step, const Attention& a, ConstMatrixF x, MatrixF qkv) {
  if (a.fused == FusedRows::kBlocks) return linear(step, a.qkv, x, qkv);
  const Arena::Mark mark(step.context.scratch);
  const MatrixF by_head = take_matrix(step.context, x.rows, qkv.cols);
  linear(step, a.qkv, x, by_head);
  for (const int64_t part : {0, 1, 2}) kernels::copy_heads(step.context, by_head, to_blocks(a, part), qkv);
}

void project(const Step& step, const Attention& a, ConstMatrixF x, const AttentionSaved& b) {
  if (a.qkv >= 0) return project_fused(step, a, x, b.qkv);
  const MatrixF q = b.q_raw.data != nullptr ? b.q_raw : b.q;
  const MatrixF k = b.k_raw.data != nullptr ? b.k_raw : b.k;
  linear(step, a.q, x, q);
  linear(step, a.k, x, k);
  linear(step, a.v, x, b.v);
  if (a.q_norm.present()) norm(step, a.q_norm, q, b.q);
  if (a.k_norm.present()) norm(step, a.k_norm, k, b.k);
}

// The forward up to the mix of values; k and v of `b` stay as computed, not as stored.
void mix_values(const Step& step, const Attention& a, const kernels::KvLayer& cache, ConstMatrixF x, const AttentionSaved& b) {
  kernels::Context& context = step.context;
  project(step, a, x, b);
  rope(step, a, source(a, a.q), b.q);
  rope(step, a, source(a, a.k), b.k);
  kernels::kv_write(context, b.k, b.v, step.rows.kv_slots, cache);
  const kernels::AttentionRows keys{.spans = step.rows.spans,
                                    .key_begin = windowed_key_begin(step, a.window),
                                    .key_end = step.rows.key_end};
  step.note(Op::kAttention, source(a, a.v));
  kernels::attention(context, b.q, cache, keys, options_of(a), b.mixed);
}

AttentionSaved take_buffers(const Step& step, const Attention& a, int64_t rows) {
  AttentionSaved buffers;
  if (a.qkv >= 0) {
    split(a, take_matrix(step.context, rows, a.width() + 2 * a.kv_width()), buffers);
  } else {
    buffers.q = take_matrix(step.context, rows, a.width());
    buffers.k = take_matrix(step.context, rows, a.kv_width());
    buffers.v = take_matrix(step.context, rows, a.kv_width());
  }
  buffers.mixed = take_matrix(step.context, rows, a.width());
  return buffers;
}

// The values as a bf16 cache gives them back.
void round_as_stored(DType stored, MatrixF values) {
  if (stored != DType::kBF16) return;
  for (int64_t row = 0; row < values.rows; ++row) {
    for (float& value : values.row_span(row)) value = to_f32(to_bf16(value));
  }
}

// What the projections' mirror reads: their input, what the forward kept and the gradients of q, k and v.
struct Projected {
  ConstMatrixF x;
  const AttentionSaved& saved;
  const AttentionSaved& d;
};

// From the gradients of q, k and v to that of x.
void project_backward(const Backward& backward, const Attention& a, const Projected& projected, MatrixF dx) {
  const auto& [x, saved, d] = projected;
  kernels::Context& context = backward.step.context;
  if (a.qkv >= 0) {
    if (a.fused == FusedRows::kBlocks) return linear_backward(backward, a.qkv, x, {d.qkv, dx});
    const MatrixF by_head = take_matrix(context, x.rows, d.qkv.cols);
    for (const int64_t part : {0, 1, 2}) kernels::copy_heads(context, d.qkv, from_blocks(a, part), by_head);
    return linear_backward(backward, a.qkv, x, {by_head, dx});
  }
  if (a.k_norm.present()) head_norm_backward(backward, a.k_norm, saved.k_raw, d.k);
  if (a.q_norm.present()) head_norm_backward(backward, a.q_norm, saved.q_raw, d.q);
  const bool wanted = dx.data != nullptr;
  const MatrixF part = wanted ? take_matrix(context, x.rows, x.cols) : dx;
  linear_backward(backward, a.v, x, {d.v, dx});
  linear_backward(backward, a.k, x, {d.k, part});
  if (wanted) kernels::add(context, part, dx);
  linear_backward(backward, a.q, x, {d.q, part});
  if (wanted) kernels::add(context, part, dx);
}

}  // namespace

AttentionSaved attention_saved(const Attention& a, SavedCut& cut) {
  AttentionSaved saved;
  if (a.qkv >= 0) {
    split(a, cut.next(a.width() + 2 * a.kv_width()), saved);
  } else {
    saved.q = cut.next(a.width());
    saved.k = cut.next(a.kv_width());
    saved.v = cut.next(a.kv_width());
  }
  saved.mixed = cut.next(a.width());
  if (a.q_norm.present()) saved.q_raw = cut.next(a.width());
  if (a.k_norm.present()) saved.k_raw = cut.next(a.kv_width());
  return saved;
}

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

void attention_backward(const Backward& backward, const Attention& a, ConstMatrixF x, const AttentionSaved& saved,
                        const GradientFlow& flow) {
  const Step& step = backward.step;
  const Arena::Mark mark(step.context.scratch);
  const AttentionSaved d = take_buffers(step, a, x.rows);  // gradients of the saved matrices
  linear_backward(backward, a.o, saved.mixed, {flow.dy, d.mixed});
  const kernels::AttentionRows keys{.spans = step.rows.spans,
                                    .key_begin = windowed_key_begin(step, a.window),
                                    .key_end = step.rows.key_end};
  const kernels::AttentionInputs inputs{.q = saved.q, .k = saved.k, .v = saved.v, .kv_heads = a.kv_heads, .head_dim = a.head_dim};
  step.note_mirror(Op::kAttention, source(a, a.v));
  kernels::attention_vjp(step.context, inputs, keys, options_of(a), d.mixed, {d.q, d.k, d.v});
  rope_backward(step, a, source(a, a.k), d.k);
  rope_backward(step, a, source(a, a.q), d.q);
  project_backward(backward, a, {x, saved, d}, flow.dx);
}

size_t attention_backward_scratch_bytes(const TargetTable& targets, const Attention& a, const BackwardShape& shape) {
  size_t inner = std::max(kernels::attention_vjp_scratch_bytes(shape.threads, shape.span_rows_max, a.head_dim),
                          norm_backward_scratch_bytes(shape.rows, a.heads));
  for (const int32_t target : a.projections()) {
    if (target >= 0) inner = std::max(inner, linear_backward_scratch_bytes(targets[target], shape));
  }
  const int64_t qkv = a.qkv >= 0 ? a.width() + 2 * a.kv_width() : 0;  // in the projection's own order
  return ScratchSum().add(shape.rows * a.width(), 2 * sizeof(float)).add(shape.rows * a.kv_width(), 2 * sizeof(float))
             .add(shape.rows * targets[a.o].out).add(shape.rows).add(shape.rows * qkv).bytes() + 4 * 64 + inner;
}

size_t attention_scratch_bytes(const TargetTable& targets, const Attention& a, int64_t rows, int64_t rank_max, int threads) {
  size_t inner = std::max(norm_scratch_bytes(rows, a.heads),
                          kernels::attention_scratch_bytes(threads > 0 ? threads : kThreadsMax, rows, a.head_dim));
  for (const int32_t target : a.projections()) {
    if (target >= 0) inner = std::max(inner, linear_scratch_bytes(targets[target], rows, rank_max, threads));
  }
  const int64_t qkv = a.qkv >= 0 && a.fused == FusedRows::kByHead ? a.width() + 2 * a.kv_width() : 0;
  return ScratchSum().add(rows * a.width(), 2 * sizeof(float)).add(rows * a.kv_width(), 2 * sizeof(float)).add(rows)
             .add(rows * qkv).bytes() + 3 * 64 + inner;
}

}  // namespace umbel
