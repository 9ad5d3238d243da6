// A model of any known shape with generated weights and no checkpoint on disk: for benchmarks and storms.
#pragma once

#include <cstdint>
#include <memory>

#include "models/config.h"
#include "models/model.h"

namespace umbel {

// Weights uniform with standard deviation 0.02, biases 0, norm gains 1: a pure function of (config, seed), whatever the
// machine. options.dtype: how they are stored; "auto" = config.dtype, else bf16. kInvalidArgument when the shape can't
// be (as in parse_model_config, where config normally comes from).
Result<std::shared_ptr<const Model>> make_random_model(const ModelConfig& config, uint64_t seed,
                                                       const ModelOptions& options);

}  // namespace umbel
