// Backward of the kernels in api.h, for training. kernels/ref has the scalar truth (x_vjp) of each.
//
// Conventions are those of api.h. A function says what it does with its result: "=" overwrites, "+=" adds. Gradients of
// activations are computed row by row and are batch invariant. Gradients of parameters are sums over rows: each runs over
// the ascending rows of its own segment in one order, so what a job gets has the same bits alone and in a crowd, with any
// number of threads. Parameters and their gradients are f32 (masters); null gradient pointers mean "not wanted".
#pragma once

#include "kernels/api.h"

namespace umbel::kernels {

enum class Write { kOverwrite, kAdd };

// ---- row-wise -----------------------------------------------------------------------------------------------------
// dx (=, += by `write`) for y = rms_norm(x). dx may be dy.
void rms_norm_vjp(Context& context, ConstMatrixF x, PerRow gain, float epsilon, ConstMatrixF dy, MatrixF dx, Write write);
// dx for y = layer_norm(x), whose bias is not read. dx may be dy.
struct Written {
  MatrixF to;
  Write how;
};
void layer_norm_vjp(Context& context, ConstMatrixF x, const Affine& affine, ConstMatrixF dy, const Written& dx);
// d.gate =, d.up = (not written where in.up has no data). d.gate may be in.gate or dy, d.up may be in.up.
struct GatedGradient {
  MatrixF gate;
  MatrixF up = {};
};
void activation_vjp(Context& context, Activation kind, const Gated& in, ConstMatrixF dy, const GatedGradient& d);
// In place: dx becomes the gradient before the cap. y: as soft_cap left it.
void soft_cap_vjp(Context& context, float cap, ConstMatrixF y, MatrixF dx);
// In place: dx becomes the gradient before the rotation.
void rope_vjp(Context& context, ConstMatrixF angles, int64_t head_dim, MatrixF dx);

// The gradient of a vector of [cols] parameters that the rows [row_begin, row_begin + row_count) share. Several entries may
// name the same gradient; they add in the order given.
struct RowsGradient {
  int32_t row_begin;
  int32_t row_count;
  float* gradient;
};
// gradient += sum over rows of dy o xhat.
void rms_norm_vjp_gain(Context& context, ConstMatrixF x, float epsilon, ConstMatrixF dy,
                       std::span<const RowsGradient> gradients);
// The same for the gain of layer_norm.
void layer_norm_vjp_gain(Context& context, ConstMatrixF x, float epsilon, ConstMatrixF dy,
                         std::span<const RowsGradient> gradients);
// gradient += sum over rows of dy.
void add_bias_vjp(Context& context, ConstMatrixF dy, std::span<const RowsGradient> gradients);
// dtable[tokens[i]] += dy[i], ascending i. Rows of one job must stay in one table of its own.
void embedding_vjp(Context& context, std::span<const int32_t> tokens, ConstMatrixF dy, MatrixF dtable);
// dw[out, in] += dy^T x, the gradient of an unfrozen weight.
void matmul_vjp_w(Context& context, ConstMatrixF dy, ConstMatrixF x, MatrixF dw);
// Bytes of scratch: rms_norm_vjp_gain and layer_norm_vjp_gain for M rows; matmul_vjp_w for M rows of dy[M, out].
size_t rms_norm_vjp_gain_scratch_bytes(int64_t rows);
size_t layer_norm_vjp_gain_scratch_bytes(int64_t rows);
size_t matmul_vjp_w_scratch_bytes(int64_t rows, int64_t out);

// ---- row scale ----------------------------------------------------------------------------------------------------
// Where an entry's scale gradients are added. Entries may share pointers; they add in ascending order of entries.
struct ScaledRowGradient {
  float* pre = nullptr;   // [in] or null
  float* post = nullptr;  // [out] or null
};
struct ScaledRows {
  std::span<const ScaledRow> rows;
  std::span<const uint8_t> first;                // as in combine_scaled
  std::span<const ScaledRowGradient> gradients;  // empty: none wanted
};
// dx[source] (+)= sum of pre o dexpanded[i] (overwritten where first[i]; data null = not wanted);
// gradients.pre += dexpanded[i] o x[source].
void gather_scaled_vjp(Context& context, ConstMatrixF x, const ScaledRows& rows, ConstMatrixF dexpanded, MatrixF dx);
// du[i] = post o dy[source]; gradients.post += dy[source] o u[i]. du may be u.
void combine_scaled_vjp(Context& context, ConstMatrixF u, const ScaledRows& rows, ConstMatrixF dy, MatrixF du);

// ---- scale terms of matmul_modulated ------------------------------------------------------------------------------
// The rows of whole examples: example e is the rows [examples[e], examples[e + 1]) of x and dy.
struct ModulatedRows {
  ConstMatrixF x;
  ConstMatrixF dy;
  std::span<const int32_t> examples;
};
// gradients[t].pre += sum over rows of x o W^T(post_t o dy), gradients[t].post += sum of dy o W(pre_t o x), by way of the
// product dy^T x of each example, whose price does not grow with the terms. An example's sum is made by itself and then
// added, in ascending order: what a job gets depends on its own examples alone. gradients: one per term, distinct memory.
void matmul_modulated_vjp_terms(Context& context, const FrozenMatrix& weight, std::span<const ScaleTerm> terms,
                                std::span<const ScaledRowGradient> gradients, const ModulatedRows& rows);
// Bytes of scratch that it takes for examples of at most `rows` rows.
size_t matmul_modulated_vjp_terms_scratch_bytes(int64_t rows, int64_t out, int64_t in, int64_t terms, int threads);

// ---- segmented low rank -------------------------------------------------------------------------------------------
// dh = B^T (scale u o dy), laid out as h.
void segmented_expand_vjp_h(Context& context, std::span<const LowRankSegment> segments, ConstMatrixF dy, float* dh);
// dx += A^T (v o dh).
void segmented_shrink_vjp_x(Context& context, std::span<const LowRankSegment> segments, const float* dh, MatrixF dx);

// Gradients of one segment's parameters, all +=, dense, distinct among segments; null: not wanted.
struct LowRankGradient {
  float* a;    // [rank, in]     (v o dh)^T x
  float* b_t;  // [rank, out]    h^T (scale u o dy)
  float* u;    // [out]          sum over rows of scale dy o (B h)
  float* v;    // [rank]         sum over rows of dh o (A x)
};
struct LowRankActivations {
  ConstMatrixF x;
  const float* h;  // as segmented_shrink left it
  ConstMatrixF dy;
  const float* dh;
};
void segmented_low_rank_vjp_parameters(Context& context, std::span<const LowRankSegment> segments,
                                       std::span<const LowRankGradient> gradients, const LowRankActivations& activations);
// Bytes that any of the three takes from context.scratch at most for these segments.
size_t low_rank_vjp_scratch_bytes(std::span<const LowRankSegment> segments, int64_t out);

// ---- attention ----------------------------------------------------------------------------------------------------
// Whole sequences as dense rows: key j of a span is row row_begin + j of k and v (as the forward read them: with a bf16
// cache, the rounded values). AttentionSpan::blocks is not used; key ranges lie within [0, row_count].
struct AttentionInputs {
  ConstMatrixF q;  // [M, heads * head_dim]
  ConstMatrixF k;  // [M, kv_heads * head_dim]
  ConstMatrixF v;
  int32_t kv_heads;
  int32_t head_dim;
};
struct AttentionGradients {  // all =
  MatrixF q;
  MatrixF k;
  MatrixF v;
};
void attention_vjp(Context& context, const AttentionInputs& inputs, const AttentionRows& rows,
                   const AttentionOptions& options, ConstMatrixF dout, const AttentionGradients& gradients);
// rows_max: the longest span.
size_t attention_vjp_scratch_bytes(int threads, int64_t rows_max, int32_t head_dim);

// ---- loss ---------------------------------------------------------------------------------------------------------
// losses[i] = -log softmax(logits[i])[labels[i]]; 0 where labels[i] < 0 (a row that is not trained on).
void cross_entropy(Context& context, ConstMatrixF logits, std::span<const int32_t> labels, std::span<float> losses);
// dlogits[i] = weights[i] (softmax(logits[i]) - onehot(labels[i])); 0 where labels[i] < 0. dlogits may be logits.
void cross_entropy_vjp(Context& context, ConstMatrixF logits, std::span<const int32_t> labels,
                       std::span<const float> weights, MatrixF dlogits);

}  // namespace umbel::kernels
