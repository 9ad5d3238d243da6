// Every kernel's signature, shapes and meaning: the one page to read.
//
// Conventions. M rows are tokens. Matrices are row-major f32 with a row stride. Outputs do not overlap inputs unless
// a comment says so. BATCH INVARIANT: a row's result has the same bits whatever the other rows, M, the chunking and the
// thread count are: every reduction runs in an order fixed by the row's own extents. Nothing allocates from the heap;
// scratch comes from context.scratch and is given back before return. kernels/ref/ has the scalar truth of each.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/activation.h"
#include "kernels/context.h"
#include "kernels/frozen_matrix.h"
#include "kernels/scale_term.h"
#include "tensor/view.h"

namespace umbel::kernels {

// A vector that all rows share, or one pointer per row (adapters with own norms or biases). Null entries mean "none".
struct PerRow {
  const float* shared = nullptr;
  std::span<const float* const> each = {};
  const float* operator[](int64_t row) const { return each.empty() ? shared : each[row]; }
};

// ---- frozen matmul ------------------------------------------------------------------------------------------------
// y[M, out] = x[M, in] W^T.
void matmul(Context& context, const FrozenMatrix& weight, ConstMatrixF x, MatrixF y);
// dx[M, in] = dy[M, out] W, straight from the packed form (training), in the weight's own arithmetic. Overwrites dx.
void matmul_vjp_x(Context& context, const FrozenMatrix& weight, ConstMatrixF dy, MatrixF dx);

// The same with W o sum_t post_t pre_t^T in W's place: what sum_t post_t o W(pre_t o x) is, at the price of one product
// however many terms there are (none: matmul itself). Computed in f32 multiply-adds; the product of W and the terms is made
// square by square in passing, never whole. For many rows of one adapter: the terms are multiplied anew in every pass.
void matmul_modulated(Context& context, const FrozenMatrix& weight, std::span<const ScaleTerm> terms, ConstMatrixF x, MatrixF y);
void matmul_modulated_vjp_x(Context& context, const FrozenMatrix& weight, std::span<const ScaleTerm> terms, ConstMatrixF dy, MatrixF dx);

// ---- row scale (scale terms of the algebra) -----------------------------------------------------------------------
// One expanded row: pre o x[source_row] goes through W, comes back as u, and post o u is added to the sum. Null = ones.
struct ScaledRow {
  int32_t source_row;
  const float* pre;   // [in]
  const float* post;  // [out]
};
// expanded[i, in] = rows[i].pre o x[rows[i].source_row].
void gather_scaled(Context& context, ConstMatrixF x, std::span<const ScaledRow> rows, MatrixF expanded);
// For every i in ascending order: y[rows[i].source_row] (+)= rows[i].post o u[i]. The first entry of a source row in
// `rows` overwrites y where first[i] != 0, later ones add. Entries of one source row are neighbours.
void combine_scaled(Context& context, ConstMatrixF u, std::span<const ScaledRow> rows, std::span<const uint8_t> first,
                    MatrixF y);

// ---- segmented low rank (low-rank terms) --------------------------------------------------------------------------
// y += u o scale * B (v o (A x)) for the rows [row_begin, row_begin + row_count).
struct LowRankSegment {
  int32_t row_begin;
  int32_t row_count;
  int32_t rank;
  DType dtype;          // of a and b_t: kBF16 or kF32
  const void* a;        // [rank, in], row stride a_stride elements
  const void* b_t;      // B transposed: [rank, out], row stride b_stride elements
  int64_t a_stride;
  int64_t b_stride;
  const float* u;       // [out] or null
  const float* v;       // [rank] or null
  float scale;
  int64_t h_offset;     // where this segment's h [row_count, rank] (dense) starts in the h buffer, in floats
};
// h = v o (A x) for every segment; h holds sum(row_count * rank) floats.
void segmented_shrink(Context& context, std::span<const LowRankSegment> segments, ConstMatrixF x, float* h);
// y += u o scale * B h for every segment. Segments of the same rows are applied in the order given.
void segmented_expand(Context& context, std::span<const LowRankSegment> segments, const float* h, MatrixF y);
// Bytes that either takes from context.scratch at most.
size_t low_rank_scratch_bytes(int64_t segments);

// ---- row bias -----------------------------------------------------------------------------------------------------
// y[row] += bias[row]; rows whose bias is null stay as they are.
void add_bias(Context& context, PerRow bias, MatrixF y);

// ---- element-wise and row-wise ------------------------------------------------------------------------------------
// y = x / sqrt(mean(x^2) + eps) o gain[row]. x and y may be the same.
void rms_norm(Context& context, ConstMatrixF x, PerRow gain, float epsilon, MatrixF y);
// y += x.
void add(Context& context, ConstMatrixF x, MatrixF y);
// y = (x - mean) / sqrt(variance + eps) o gain[row] + bias[row]. x and y may be the same.
struct Affine {
  PerRow gain = {};
  PerRow bias = {};
  float epsilon = 0;
};
void layer_norm(Context& context, ConstMatrixF x, const Affine& affine, MatrixF y);
// x = factor x.
void multiply(Context& context, float factor, MatrixF x);
// y = f(gate) o up (kernels/activation.h); up without data: y = f(gate). y may be gate or up.
struct Gated {
  ConstMatrixF gate;
  ConstMatrixF up = {};
};
void activation(Context& context, Activation kind, const Gated& in, MatrixF y);
// x = cap tanh(x / cap), cap > 0.
void soft_cap(Context& context, float cap, MatrixF x);
// Heads of dim columns from x to y: head h from column from + h from_stride to column to + h to_stride. The rest of y stays.
struct HeadCopy {
  int64_t count;
  int64_t dim;
  int64_t from;
  int64_t from_stride;
  int64_t to;
  int64_t to_stride;
};
void copy_heads(Context& context, ConstMatrixF x, const HeadCopy& copy, MatrixF y);
// Rotates the first angles.cols dimensions of every head of x[M, heads * head_dim] in place, half-split pairs
// (i, i + angles.cols / 2). angles[M, rotary], even and at most head_dim wide: cos in the first half of a row, sin in the second,
// any attention factor already multiplied in.
void rope(Context& context, ConstMatrixF angles, int64_t head_dim, MatrixF x);
// y[i] = row tokens[i] of the table (f32, bf16 or f16, row-major [vocab, dim]).
void embedding(Context& context, const TensorView& table, std::span<const int32_t> tokens, MatrixF y);

// ---- attention over paged KV --------------------------------------------------------------------------------------
// One layer's keys and values: blocks of block_size positions. The layout inside a block is private to kernels/;
// kv_block_elements() elements of `dtype` per block, for K and for V each.
struct KvLayer {
  void* k;
  void* v;
  DType dtype;  // kF32 or kBF16
  int32_t block_size;  // 16
  int32_t kv_heads;
  int32_t head_dim;
};
inline constexpr int32_t kKvBlockSize = 16;
int64_t kv_block_elements(int32_t kv_heads, int32_t head_dim);
// Stores k[i], v[i] ([M, kv_heads * head_dim]) at slots[i] = block * block_size + offset; rounds to the cache's dtype.
// A negative slot is skipped.
void kv_write(Context& context, ConstMatrixF k, ConstMatrixF v, std::span<const int32_t> slots, const KvLayer& layer);

// Rows [row_begin, row_begin + row_count) belong to one sequence with this block table: key j of the sequence lives in
// blocks[j / block_size] at j % block_size. Row i attends to the keys [key_begin[i], key_end[i]).
struct AttentionSpan {
  int32_t row_begin;
  int32_t row_count;
  const int32_t* blocks;
};
struct AttentionOptions {
  int32_t heads;
  float scale;    // multiplies q.k
  float cap = 0;  // of the scaled scores: s = cap tanh(s / cap); 0 = none
};
// out[M, heads * head_dim] = softmax(scale q K^T) V per head, over tiles of keys aligned to kKvBlockSize in ascending
// order, reading K and V only as stored. key_begin, key_end: one entry per row, key_end > key_begin.
struct AttentionRows {
  std::span<const AttentionSpan> spans;
  std::span<const int32_t> key_begin;
  std::span<const int32_t> key_end;
};
void attention(Context& context, ConstMatrixF q, const KvLayer& layer, const AttentionRows& rows,
               const AttentionOptions& options, MatrixF out);
// Bytes that attention takes from context.scratch at most.
size_t attention_scratch_bytes(int threads, int64_t spans, int32_t head_dim);

// ---- sampling helpers ---------------------------------------------------------------------------------------------
// Index of the largest entry, the lowest index among equals; NaN counts as -inf. REQUIRES values not empty.
int64_t argmax(const Context& context, std::span<const float> values);
// log(sum(exp(values))), fixed order.
float log_sum_exp(const Context& context, std::span<const float> values);

}  // namespace umbel::kernels
