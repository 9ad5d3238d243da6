#include "models/config_fields.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace umbel {
namespace {

struct InactiveField {
  std::string_view name;
  Json inactive;
};

struct ActivationName {
  std::string_view name;
  kernels::Activation activation;
};

constexpr std::array<ActivationName, 9> kActivationNames = {{
    {"silu", kernels::Activation::kSilu},
    {"swish", kernels::Activation::kSilu},
    {"gelu", kernels::Activation::kGelu},
    {"gelu_python", kernels::Activation::kGelu},
    {"gelu_new", kernels::Activation::kGeluTanh},
    {"gelu_pytorch_tanh", kernels::Activation::kGeluTanh},
    {"gelu_python_tanh", kernels::Activation::kGeluTanh},
    {"gelu_fast", kernels::Activation::kGeluTanh},
    {"relu", kernels::Activation::kRelu},
}};

}  // namespace

bool field_present(const Json& json, const char* name) { return json.contains(name) && !json[name].is_null(); }

Status impossible_field(const char* name, int64_t value, const std::string& why) {
  return invalid_argument(std::string(name) + " = " + std::to_string(value) + ": " + why);
}

Result<int64_t> read_extent(const Json& json, const char* name, int64_t limit) {
  ASSIGN_OR_RETURN(const int64_t value, json_field<int64_t>(json, name));
  if (value >= 1 && value <= limit) return value;
  return impossible_field(name, value, "must be between 1 and " + std::to_string(limit));
}

Result<int64_t> read_extent_or(const Json& json, const char* name, int64_t limit, int64_t fallback) {
  if (!field_present(json, name)) return fallback;
  return read_extent(json, name, limit);
}

Result<double> read_positive_or(const Json& json, const char* name, double fallback) {
  ASSIGN_OR_RETURN(const double value, json_field_or<double>(json, name, fallback));
  if (std::isfinite(value) && value > 0 && value < 1e30) return value;
  return invalid_argument(std::string(name) + " must be a positive number");
}

Result<double> read_cap(const Json& json, const char* name, double fallback) {
  if (json.contains(name) && json[name].is_null()) return 0.0;
  if (!json.contains(name)) return fallback;
  return read_positive_or(json, name, fallback);
}

Status check_inactive(const Json& json, std::initializer_list<std::string_view> computed) {
  static const std::array<InactiveField, 25> kFields = {{
      {"hidden_act", "silu"},        {"hidden_activation", "silu"},      {"pretraining_tp", 1},
      {"attn_logit_softcapping", {}}, {"final_logit_softcapping", {}},    {"query_pre_attn_scalar", {}},
      {"logit_scale", 1},            {"logits_scaling", 1},              {"embedding_multiplier", 1},
      {"residual_multiplier", 1},    {"attention_multiplier", {}},
      {"num_experts", 0},            {"num_local_experts", 0},           {"n_routed_experts", 0},
      {"num_nextn_predict_layers", 0}, {"rope_interleaved", false},       {"is_encoder_decoder", false},
      {"add_cross_attention", false}, {"use_parallel_residual", false},   {"clip_qkv", {}},
      {"scale_attn_by_inverse_layer_idx", false}, {"scale_attn_weights", true}, {"use_bidirectional_attention", false},
      {"qk_layernorm", false},       {"alibi", false},
  }};
  for (const InactiveField& field : kFields) {
    const std::string name(field.name);
    if (std::find(computed.begin(), computed.end(), field.name) != computed.end()) continue;
    if (!json.contains(name) || json[name].is_null() || json[name] == field.inactive) continue;
    const std::string only = field.inactive.is_null() ? "only without it" : "only with " + field.inactive.dump();
    return unsupported(name + " = " + json[name].dump().substr(0, 80) + " is not computed here, " + only);
  }
  return ok_status();
}

Status read_sizes(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.vocab_size, read_extent(json, "vocab_size", kVocabMax));
  ASSIGN_OR_RETURN(config.hidden_size, read_extent(json, "hidden_size", kExtentMax));
  ASSIGN_OR_RETURN(config.intermediate_size, read_extent(json, "intermediate_size", kExtentMax));
  ASSIGN_OR_RETURN(config.layers, read_extent(json, "num_hidden_layers", kLayersMax));
  ASSIGN_OR_RETURN(config.heads, read_extent(json, "num_attention_heads", kExtentMax));
  ASSIGN_OR_RETURN(config.kv_heads, read_extent_or(json, "num_key_value_heads", kExtentMax, config.heads));
  ASSIGN_OR_RETURN(config.head_dim, read_extent_or(json, "head_dim", kHeadDimMax, config.hidden_size / config.heads));
  ASSIGN_OR_RETURN(config.max_position_embeddings, read_extent(json, "max_position_embeddings", kPositionsMax));
  config.window.assign(config.layers, 0);
  return ok_status();
}

Status read_gpt_sizes(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.vocab_size, read_extent(json, "vocab_size", kVocabMax));
  ASSIGN_OR_RETURN(config.hidden_size, read_extent(json, "n_embd", kExtentMax));
  ASSIGN_OR_RETURN(config.intermediate_size, read_extent_or(json, "n_inner", kExtentMax, 4 * config.hidden_size));
  ASSIGN_OR_RETURN(config.layers, read_extent(json, "n_layer", kLayersMax));
  ASSIGN_OR_RETURN(config.heads, read_extent(json, "n_head", kExtentMax));
  ASSIGN_OR_RETURN(config.max_position_embeddings, read_extent(json, "n_positions", kExtentMax));
  if (config.hidden_size % config.heads != 0 || config.hidden_size / config.heads > kHeadDimMax) {
    return impossible_field("n_head", config.heads,
                            "must divide n_embd = " + std::to_string(config.hidden_size) + " into heads of at most " + std::to_string(kHeadDimMax));
  }
  config.kv_heads = config.heads;
  config.head_dim = config.hidden_size / config.heads;
  config.window.assign(config.layers, 0);
  return ok_status();
}

Status read_epsilon(const Json& json, const char* name, double fallback, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.norm_epsilon, json_field_or<double>(json, name, fallback));
  if (config.norm_epsilon > 0 && config.norm_epsilon < 1) return ok_status();
  return invalid_argument(std::string(name) + " must be between 0 and 1");
}

Status read_tied(const Json& json, bool fallback, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.tie_word_embeddings, json_field_or<bool>(json, "tie_word_embeddings", fallback));
  return ok_status();
}

Status read_activation(const Json& json, const char* name, std::string_view fallback, ModelConfig& config) {
  ASSIGN_OR_RETURN(const std::string wanted, json_field_or<std::string>(json, name, std::string(fallback)));
  std::string known;
  for (const ActivationName& entry : kActivationNames) {
    if (entry.name == wanted) {
      config.activation = entry.activation;
      return ok_status();
    }
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return unsupported(std::string(name) + " \"" + wanted.substr(0, 80) + "\" is not computed here; known: " + known);
}

Result<int64_t> read_window_length(const Json& json, int64_t fallback) {
  if (!json.contains("sliding_window")) return fallback;
  if (json["sliding_window"].is_null()) return int64_t{0};
  ASSIGN_OR_RETURN(const int64_t window, json_field<int64_t>(json, "sliding_window"));
  if (window >= 1) return window;
  return invalid_argument("sliding_window = " + std::to_string(window) + ": must be at least 1, or null");
}

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

}  // namespace umbel
