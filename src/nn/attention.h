// Causal self-attention of the Llama family: q, k, v; optional norm per head; RoPE; grouped heads over the paged cache;
// o.
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

// One layer's attention: target indices (-1 = this family has none) and shape.
struct Attention {
  int32_t q = -1;
  int32_t k = -1;
  int32_t v = -1;
  int32_t o = -1;
  int32_t q_norm = -1;  // Qwen3: RMSNorm per head, before RoPE
  int32_t k_norm = -1;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int64_t window = 0;     // keys a row sees at most, itself included; 0 = all
  float norm_epsilon = 0;  // of q_norm and k_norm
};

// Stores K and V of all rows in `cache` first, then attends: also the rows of this step are read only as stored.
// x[M, hidden] to y[M, hidden]; y is overwritten and must not be x.
void attention_forward(const Step& step, const Attention& attention, const kernels::KvLayer& cache, ConstMatrixF x,
                       MatrixF y);
// What the forward leaves for its mirror: q and k after RoPE, k and v as the cache holds them, the mix of values before o, and
// for families with a norm per head q and k before it (else data null). All [M, width of the head kind].
struct AttentionSaved {
  MatrixF q;
  MatrixF k;
  MatrixF v;
  MatrixF mixed;
  MatrixF q_raw;
  MatrixF k_raw;
};
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
