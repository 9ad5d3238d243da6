// The RoPE part of a config.json, in both dialects: rope_scaling beside rope_theta, or rope_parameters (transformers
// 5), flat or one object per layer type.
#pragma once

#include "base/status.h"
#include "io/json.h"
#include "models/config.h"

namespace umbel {

// Fills config.rope. REQUIRES max_position_embeddings and head_dim. kUnsupported naming a scaling that can't be
// computed, or layer types whose parameters differ; kInvalidArgument naming a field that is missing or impossible.
Status read_rope_config(const Json& json, ModelConfig& config);

}  // namespace umbel
