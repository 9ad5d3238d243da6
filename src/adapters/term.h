// The algebra that every adapter kind is written in (ARCHITECTURE.md, "The one idea"):
//
//   y = sum_k post_k o W(pre_k o x)  +  sum_j u_j o scale_j B_j(v_j o (A_j x))  +  c
//
// Plain pointers into the storage of the Adapter that owns the terms; null means a vector of ones (scale, u, v).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/frozen_matrix.h"
#include "kernels/scale_term.h"
#include "tensor/dtype.h"

namespace umbel {

// post o W(pre o x). pre: [in] or null, post: [out] or null; f32 always.
using ScaleTerm = kernels::ScaleTerm;

// u o scale * B(v o (A x)).
struct LowRankTerm {
  int32_t rank = 0;
  DType dtype = DType::kF32;  // of a and b_t: kF32, or kBF16 in 16-bit modes
  const void* a = nullptr;    // [rank, in], row stride a_stride
  const void* b_t = nullptr;  // B transposed, [rank, out], row stride b_stride
  int64_t a_stride = 0;       // elements
  int64_t b_stride = 0;
  const float* u = nullptr;  // [out]
  const float* v = nullptr;  // [rank]
  float scale = 1.0f;
};

// What one adapter does at one target (a linear layer, or the head). No scale terms = the single plain term (1, 1).
struct LinearTerms {
  std::vector<ScaleTerm> scale;
  std::vector<LowRankTerm> low_rank;
  float dropout = 0.0f;                               // rate, of x as the low-rank terms read it in training
  const float* bias = nullptr;                        // c, ready made: [out]; null = the base's bias as it is
  const kernels::FrozenMatrix* own_weight = nullptr;  // replaces W (modules_to_save); scale terms are empty then.
                                                      // At the head its out may be another one than the base's
};

// What one adapter does at the token embedding.
struct EmbeddingTerms {
  const float* own_table = nullptr;  // modules_to_save, a resized vocabulary: [table_rows, dim]
  int64_t table_rows = 0;            // of own_table; 0 = as many as the base's
  int32_t rank = 0;                  // LoRA: y += scale * b[:, :] a_t[token]
  const float* a_t = nullptr;        // [vocab, rank]
  const float* b_t = nullptr;        // [rank, dim]
  float scale = 1.0f;
  std::vector<int32_t> replaced_tokens;  // trainable tokens, ascending
  const float* replaced_rows = nullptr;  // [replaced_tokens.size(), dim]
};

}  // namespace umbel
