// generation_config.json: the EOS list and the checkpoint's own sampling defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "models/config.h"

namespace umbel {

// What the file says of sampling; engine/sampling_defaults.h says what it means for a request.
struct SamplingDefaults {
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k;
};

struct GenerationConfig : SamplingDefaults {
  std::vector<int32_t> eos_ids;  // generation_config.json's, else config.json's
};

// An absent file gives config's EOS and no defaults.
Result<GenerationConfig> load_generation_config(const Path& dir, const ModelConfig& config);

}  // namespace umbel
