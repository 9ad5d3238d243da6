// Pieces that several kinds share: row norms for DoRA, the embedding's merged table, trainable tokens. Private to
// adapters/.
#pragma once

#include <cstdint>
#include <vector>

#include "adapters/builder.h"

namespace umbel {

// n[o] = || W_o + scale * sum_j B[o, j] A_j || with the term's factors as they are resident (rounded in 16-bit modes).
// The row is formed in f32, its norm in double. Source: DoRA (Liu et al. 2024), section 4.3; PEFT's get_weight_norm.
std::vector<float> dora_row_norms(const Target& target, const LowRankTerm& term);

// trainable_token_indices: rows of the embedding or head that the adapter replaces. `stacked_heads`: modules whose
// low-rank terms stay on top of the replaced rows. As PEFT does it, a tied head follows the embedding unless it has
// indices of its own that differ.
Status build_trainable_tokens(Builder& builder, const ConfigValue& indices, bool ensure_weight_tying);

}  // namespace umbel
