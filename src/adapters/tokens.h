// Trainable tokens, which several kinds share. Private to adapters/.
#pragma once

#include <cstdint>
#include <vector>

#include "adapters/builder.h"

namespace umbel {

// trainable_token_indices: rows of the embedding or head that the adapter replaces. As PEFT does it, a tied head follows the embedding unless it has
// indices of its own that differ.
Status build_trainable_tokens(Builder& builder, const OrderedJson& indices, bool ensure_weight_tying);

}  // namespace umbel
