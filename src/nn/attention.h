// Causal self-attention: q, k, v apart or out of one projection; optional norms of q and k; RoPE or none; grouped heads over the
// paged cache, scaled and capped scores; o.
#pragma once

#include "nn/backward.h"
#include "nn/norm.h"
#include "nn/step.h"

namespace umbel {

// The order of the outputs of a fused projection.
enum class FusedRows : uint8_t {
  kBlocks,  // [all q | all k | all v]
  kByHead,  // q, k, v of head 0, then of head 1, ...; as many KV heads as heads
};

// One layer's attention: target indices (-1 = this family has none) and shape.
struct Attention {
  int32_t q = -1;  // q, k, v: apart
  int32_t k = -1;
  int32_t v = -1;
  int32_t qkv = -1;  // or in one
  FusedRows fused = FusedRows::kBlocks;
  int32_t o = -1;
  Norm q_norm;  // before RoPE, of every head (its target is head_dim wide) or of the whole projection; not where fused
  Norm k_norm;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t rope = 0;   // which of Step::angles turns it; -1 = none
  int64_t window = 0;  // keys a row sees at most, itself included; 0 = all
  float scale = 0;     // of q.k
  float cap = 0;       // of the scores: cap tanh(s / cap); 0 = none

  int64_t width() const { return int64_t{heads} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }
  std::array<int32_t, 7> targets() const { return {q, k, v, qkv, o, q_norm.target, k_norm.target}; }
  std::array<int32_t, 5> projections() const { return {q, k, v, qkv, o}; }
};

// Stores K and V of all rows in `cache` first, then attends: also the rows of this step are read only as stored.
// x[M, hidden] to y[M, hidden]; y is overwritten and must not be x.
void attention_forward(const Step& step, const Attention& attention, const kernels::KvLayer& cache, ConstMatrixF x,
                       MatrixF y);
// What the forward leaves for its mirror: q and k after RoPE, k and v as the cache holds them, the mix of values before o, and
// where q and k are normed q and k before it (else data null). All [M, width of the head kind]. qkv: q, k and v side by side, where
// they come out of one projection.
struct AttentionSaved {
  MatrixF q;
  MatrixF k;
  MatrixF v;
  MatrixF mixed;
  MatrixF q_raw = {};
  MatrixF k_raw = {};
  MatrixF qkv = {};
};
AttentionSaved attention_saved(const Attention& attention, SavedCut& cut);
// The same forward, bit for bit, into matrices of the caller.
void attention_forward_saving(const Step& step, const Attention& attention, const kernels::KvLayer& cache,
                              const AttentionSaved& saved, const Flow& flow);
// The mirror: dy of y to dx of x (=; skipped when its data is null), gradients of the adapters' terms (+=). x as the forward saw it. dx must
// not be dy.
void attention_backward(const Backward& backward, const Attention& attention, ConstMatrixF x, const AttentionSaved& saved,
                        const GradientFlow& flow);
// Arena bytes that attention_forward takes at most.
size_t attention_backward_scratch_bytes(const TargetTable& targets, const Attention& attention, const BackwardShape& shape);
size_t attention_scratch_bytes(const TargetTable& targets, const Attention& attention, int64_t rows, int64_t rank_max, int threads = 0);

}  // namespace umbel
