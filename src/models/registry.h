// The written list of model families (ARCHITECTURE.md, price list: a family is one file and one line here).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/json.h"
#include "models/config.h"
#include "models/model.h"
#include "models/weights.h"

namespace umbel {

struct Family {
  std::string_view model_type;    // config.json's
  std::string_view architecture;  // the one of config.json's "architectures" that is computed here
  // Fills what is special to the family, from the same config.json; the common fields are there already.
  Status (*read_config)(const Json& json, ModelConfig& config);
  Result<std::shared_ptr<const Model>> (*build)(const ModelConfig& config, Weights& weights);
};

std::span<const Family> families();
// Null when unknown.
const Family* find_family(std::string_view model_type);
// "llama, mistral, qwen2, qwen3".
std::string known_model_types();

}  // namespace umbel
