// Table: the leaf functions of one ISA as plain function pointers. cpu/*.cc (policy: tiling, threads, scratch) calls them;
// cpu/target_*.cc define one table each, from the same cpu/*-inl.h bodies.
//
// Plain data only: the leaf files include this, and nothing in it may bring inline functions or containers into them.
// Leaf functions never allocate, never start threads, and may be called by any thread. Pointers need no alignment.
#pragma once

#include <stdint.h>

#include "kernels/activation.h"
#include "kernels/matmul_table.h"

namespace umbel::kernels {

// h[i, r] = v[r] * (a[r] . x[i]) for i < rows, r < rank. Each dot product: one vector accumulator over ascending k, then
// a fixed horizontal sum; so the bits of h[i, r] depend on x[i], a[r] and v[r] alone.
struct ShrinkTile {
  const float* x;
  int64_t x_stride;
  int64_t rows;
  int64_t in;
  const void* a;  // f32 or bf16 [rank, in]
  int64_t a_stride;
  int64_t rank;
  const float* v;  // [rank] or null
  float* h;
  int64_t h_stride;
};

// y[i, o] += u[o] * scale * (sum over ascending r of h[i, r] * b[r, o]) for i < rows, o < cols. With chain (u null, scale 1) the
// sum goes on from y itself: cutting r into calls changes no bits.
struct ExpandTile {
  const float* h;
  int64_t h_stride;
  int64_t rows;
  int64_t rank;
  const void* b;  // f32 or bf16 [rank, cols]
  int64_t b_stride;
  int64_t cols;
  const float* u;  // [cols] or null
  float scale;
  float* y;
  int64_t y_stride;
  bool chain = false;
};

// Layout of one head in one KV block (kKvBlockSize = 16 positions): K is transposed, [head_dim][16], so that 16 scores
// are one vector; V is [16][padded], padded = head_dim rounded up to 16. Both take 16 * padded elements.
// Up to kAttentionQueriesMax query vectors (rows x heads of one KV head) of one sequence.
inline constexpr int kAttentionQueriesMax = 24;
struct AttentionTile {
  int32_t count;
  int32_t head_dim;
  int32_t padded;
  float scale;
  float cap;                 // of a score s: cap tanh(s / cap); 0 = none
  const float* const* q;     // [count] pointers to [head_dim]
  float* const* out;         // [count] pointers to [head_dim]
  const int32_t* key_begin;  // [count]
  const int32_t* key_end;    // [count]
  const int32_t* blocks;     // block table of the sequence
  const void* k;             // the head's part of block 0
  const void* v;
  int64_t block_stride;  // elements from a block to the next
  float* scratch;        // attention_scratch_floats(padded), 64-byte aligned
};
// Floats of scratch for one AttentionTile.
constexpr int64_t attention_scratch_floats(int64_t padded) {
  return static_cast<int64_t>(kAttentionQueriesMax) * (2 * padded + 64 + 16 + 16);
}

// One position of one head, to be stored in its block (layout: above).
struct KvPosition {
  const float* k;  // [head_dim]
  const float* v;
  int32_t head_dim;
  int32_t padded;
  int32_t offset;  // of the position in the block, 0 .. 15
  void* k_block;   // the head's part of the block
  void* v_block;
};

// Heads of one row that turn in place: the first `rotary` dimensions of each, pairs (i, i + rotary / 2).
struct RopeHeads {
  const float* angles;  // cos [rotary / 2], sin [rotary / 2]
  int64_t rotary;
  int64_t dim;
  int64_t count;
};
struct LayerNormRow {
  const float* x;
  const float* gain;  // null = ones
  const float* bias;  // null = zeros
  float epsilon;
  int64_t count;
};
// Of a row: mean, and 1 / sqrt(variance + epsilon).
struct Moments {
  float mean;
  float inverse;
};

// Inputs of one row's backward, and a block of numbers to be transposed.
struct RmsNormRow {
  const float* x;
  const float* gain;  // null = ones
  float epsilon;
  int64_t count;
};
struct ActivationRow {
  const float* gate;
  const float* up;  // null = not gated
  const float* dy;
  int64_t count;
};
struct Block {
  const float* x;
  int64_t stride;
  int64_t rows;
  int64_t cols;
};

// Backward of the row-wise functions (training). All may work in place where input and output have one shape.
struct VjpTable {
  // dx (+)= inverse o (g - xhat mean(g o xhat)), g = dy o gain.
  void (*rms_norm)(const RmsNormRow& row, const float* dy, float* dx);
  void (*rms_norm_add)(const RmsNormRow& row, const float* dy, float* dx);
  // 1 / sqrt(mean(x^2) + epsilon).
  float (*rms_inverse)(const float* x, float epsilon, int64_t count);
  // dx (+)= inverse (g - mean(g) - xhat mean(g o xhat)), g = dy o gain, xhat = (x - mean) inverse. The bias is not read.
  void (*layer_norm)(const LayerNormRow& row, const float* dy, float* dx);
  void (*layer_norm_add)(const LayerNormRow& row, const float* dy, float* dx);
  Moments (*moments)(const float* x, float epsilon, int64_t count);
  // dup is not written where the row is not gated.
  void (*activation[kActivations])(const ActivationRow& row, float* dgate, float* dup);
  // dx = dx o (1 - (y / cap)^2), y capped.
  void (*soft_cap)(float cap, const float* y, float* dx, int64_t count);
  void (*rope)(const RopeHeads& heads, float* dx);
  // y += m.inverse * a o (x - m.mean).
  void (*normed_add)(const float* a, const float* x, const Moments& m, float* y, int64_t count);
  // y += scale * a o b.
  void (*product_add)(const float* a, const float* b, float scale, float* y, int64_t count);
  // y = weight * exp(x - shift).
  void (*weighted_exp)(const float* x, float shift, float weight, float* y, int64_t count);
  // y = p o (dp - p . dp): from the gradient of softmax weights to that of their scores.
  void (*softmax_scores)(const float* p, const float* dp, float* y, int64_t count);
  // y[j, i] = x[i, j]; y has `cols` rows of `rows` elements, y_stride apart.
  void (*transpose)(const Block& block, float* y, int64_t y_stride);
};

struct Table {
  const char* name;
  int32_t lanes;  // f32 lanes of a vector

  // y = x o scale, y += x o scale; scale null = ones. y may be x.
  void (*scale)(const float* x, const float* scale, float* y, int64_t count);
  void (*scale_add)(const float* x, const float* scale, float* y, int64_t count);
  // y = x / sqrt(mean(x^2) + epsilon) o gain; gain null = ones. y may be x.
  void (*rms_norm)(const float* x, const float* gain, float epsilon, float* y, int64_t count);
  // y = (x - mean) / sqrt(variance + epsilon) o gain + bias. y may be x.
  void (*layer_norm)(const LayerNormRow& row, float* y);
  // x = factor x.
  void (*multiply)(float factor, float* x, int64_t count);
  // y = f(gate) o up, by Activation; up null = ones. y may be gate or up.
  void (*activation[kActivations])(const float* gate, const float* up, float* y, int64_t count);
  // x = cap tanh(x / cap).
  void (*soft_cap)(float cap, float* x, int64_t count);
  void (*rope)(const RopeHeads& heads, float* x);
  // y = bf16 x widened; y = x rounded to bf16 (nearest even).
  void (*widen_bf16)(const uint16_t* x, float* y, int64_t count);
  void (*narrow_bf16)(const float* x, uint16_t* y, int64_t count);
  // The first index of the largest entry, NaN as -inf. count > 0.
  int64_t (*argmax)(const float* x, int64_t count);
  // The largest entry (NaN ignored, -inf when there is none); sum of exp(x - shift) in a fixed order.
  float (*max)(const float* x, int64_t count);
  float (*sum_exp)(const float* x, float shift, int64_t count);

  void (*shrink_f32)(const ShrinkTile& tile);
  void (*shrink_bf16)(const ShrinkTile& tile);
  void (*expand_f32)(const ExpandTile& tile);
  void (*expand_bf16)(const ExpandTile& tile);

  void (*kv_write_f32)(const KvPosition& position);
  void (*kv_write_bf16)(const KvPosition& position);
  void (*attention_f32)(const AttentionTile& tile);
  void (*attention_bf16)(const AttentionTile& tile);

  VjpTable vjp;
  MatmulTable matmul;
};

}  // namespace umbel::kernels
