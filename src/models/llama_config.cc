// What config.json says differently from one Llama-shaped family to the next. Defaults of absent fields are those of
// the family's configuration class in transformers.
#include "models/llama.h"

namespace umbel {
namespace {

bool present(const Json& json, const char* name) { return json.contains(name) && !json[name].is_null(); }

// Absent (not null) takes the class's default; null means as many as heads.
Status default_kv_heads(const Json& json, int64_t fallback, ModelConfig& config) {
  if (!json.contains("num_key_value_heads")) config.kv_heads = fallback;
  return ok_status();
}

Result<int64_t> window_length(const Json& json, int64_t fallback) {
  if (!json.contains("sliding_window")) return fallback;
  if (json["sliding_window"].is_null()) return int64_t{0};
  ASSIGN_OR_RETURN(const int64_t window, json_field<int64_t>(json, "sliding_window"));
  if (window >= 1) return window;
  return invalid_argument("sliding_window = " + std::to_string(window) + ": must be at least 1, or null");
}

// config.window from layer_types: "full_attention" or "sliding_attention", one per layer. window 0 = none is
// configured.
Status apply_layer_types(const Json& types, int64_t window, ModelConfig& config) {
  if (!types.is_array() || static_cast<int64_t>(types.size()) != config.layers) {
    return invalid_argument("layer_types must be a list of num_hidden_layers = " +
                            std::to_string(config.layers) + " names");
  }
  for (int64_t i = 0; i < config.layers; ++i) {
    const Json& type = types[static_cast<size_t>(i)];
    const bool sliding = type == "sliding_attention";
    if (!sliding && type != "full_attention") {
      return unsupported("layer_types holds " + type.dump().substr(0, 40) +
                         "; full_attention and sliding_attention are computed here");
    }
    if (sliding && window == 0) {
      return invalid_argument("layer_types asks for sliding_attention but there is no sliding_window");
    }
    config.window[i] = sliding ? window : 0;
  }
  return ok_status();
}

// Qwen2 and Qwen3: use_sliding_window switches it on; layer_types says where, else the layers from max_window_layers
// on.
Status read_qwen_window(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(const bool use, json_field_or<bool>(json, "use_sliding_window", false));
  int64_t window = 0;
  if (use) {
    ASSIGN_OR_RETURN(window, window_length(json, 4096));
  }
  if (present(json, "layer_types")) return apply_layer_types(json["layer_types"], window, config);
  ASSIGN_OR_RETURN(const int64_t full_layers, json_field_or<int64_t>(json, "max_window_layers", 28));
  for (int64_t i = 0; i < config.layers; ++i) config.window[i] = i >= full_layers ? window : 0;
  return ok_status();
}

}  // namespace

Status read_llama_config(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.attention_bias, json_field_or<bool>(json, "attention_bias", false));
  config.attention_out_bias = config.attention_bias;
  ASSIGN_OR_RETURN(config.mlp_bias, json_field_or<bool>(json, "mlp_bias", false));
  // This family has no window of its own; a file that asks for one would be answered wrongly.
  if (present(json, "sliding_window")) {
    return unsupported("sliding_window is not computed for model_type llama; mistral has it");
  }
  if (present(json, "layer_types")) return apply_layer_types(json["layer_types"], 0, config);
  return ok_status();
}

Status read_mistral_config(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(default_kv_heads(json, 8, config));
  ASSIGN_OR_RETURN(const int64_t window, window_length(json, 4096));
  config.window.assign(config.layers, window);
  // transformers computes one window for all layers of a Mistral, whatever layer_types says: only agreement is
  // accepted.
  if (!present(json, "layer_types")) return ok_status();
  RETURN_IF_ERROR(apply_layer_types(json["layer_types"], window, config));
  for (const int64_t layer_window : config.window) {
    if (layer_window != window) {
      return unsupported("layer_types of a mistral must be alike for all layers and agree with sliding_window");
    }
  }
  return ok_status();
}

Status read_qwen2_config(const Json& json, ModelConfig& config) {
  config.attention_bias = true;
  RETURN_IF_ERROR(default_kv_heads(json, 32, config));
  return read_qwen_window(json, config);
}

Status read_qwen3_config(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.attention_bias, json_field_or<bool>(json, "attention_bias", false));
  config.attention_out_bias = config.attention_bias;
  config.qk_norm = true;
  if (!present(json, "head_dim")) config.head_dim = 128;
  RETURN_IF_ERROR(default_kv_heads(json, 32, config));
  return read_qwen_window(json, config);
}

}  // namespace umbel
