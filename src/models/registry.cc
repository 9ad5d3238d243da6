#include "models/registry.h"

#include <array>

#include "models/llama.h"

namespace umbel {

std::span<const Family> families() {
  static constexpr std::array<Family, 4> kFamilies = {{
      {"llama", "LlamaForCausalLM", read_llama_config, build_llama},
      {"mistral", "MistralForCausalLM", read_mistral_config, build_llama},
      {"qwen2", "Qwen2ForCausalLM", read_qwen2_config, build_llama},
      {"qwen3", "Qwen3ForCausalLM", read_qwen3_config, build_llama},
  }};
  return kFamilies;
}

const Family* find_family(std::string_view model_type) {
  for (const Family& family : families()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string known_model_types() {
  std::string names;
  for (const Family& family : families()) names += (names.empty() ? "" : ", ") + std::string(family.model_type);
  return names;
}

}  // namespace umbel
