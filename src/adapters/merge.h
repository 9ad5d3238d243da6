// Merging: the dense weights that a target has with an adapter folded in. Every kind can merge, since a merge follows
// from the algebra alone:
//
//   W' = sum_k diag(post_k) W diag(pre_k) + sum_j diag(u_j) scale_j B_j diag(v_j) A_j,    c' = the adapter's bias or
//   the base's
#pragma once

#include "adapters/targets.h"
#include "adapters/term.h"
#include "tensor/tensor.h"

namespace umbel {

struct MergedLinear {
  Tensor weight;  // f32 [out, in]
  Tensor bias;    // f32 [out]; empty when the layer has none
};

// terms null = the base as it is. target: kLinear or kHead. An adapter with a vocabulary of its own has its own number of
// rows at embedding and head.
MergedLinear merge_linear(const Target& target, const LinearTerms* terms);

// f32 [vocab, dim]: row t is what the embedding of token t becomes. target: kEmbedding.
Tensor merge_embedding(const Target& target, const EmbeddingTerms* terms);

}  // namespace umbel
