// The RoPE fields of a config.json, in both dialects (models/config.h).
#pragma once

#include "io/json.h"
#include "models/config.h"

namespace umbel {

// What a family says about its RoPE beside the fields that all share.
struct RopeForms {
  double theta = 10000.0;                           // where none is given
  const char* theta_name = "rope_theta";            // of the older dialect
  double partial = 0;                               // how much of a head turns where nothing is said; 0: all, and nothing else is computed
  const char* partial_name = "partial_rotary_factor";
  int64_t original = 0;                             // original_max_position_embeddings where none is given; 0: the context
  bool longrope = false;                            // longrope (su) is its only scaling
};

// Fills config.rope and config.rotary_dim; head_dim and max_position_embeddings are there already.
Status read_rope_config(const Json& json, const RopeForms& forms, ModelConfig& config);
// Layers with a window have a RoPE of their own (config.local_rope), without scaling in the older dialect.
Status read_two_ropes(const Json& json, const RopeForms& global, const RopeForms& local, ModelConfig& config);

}  // namespace umbel
