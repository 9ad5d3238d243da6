#include "models/config.h"

#include <array>
#include <cmath>

#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

// Larger extents than any model has; they keep products of three of them inside int64.
constexpr int64_t kExtentMax = int64_t{1} << 20;
constexpr int64_t kVocabMax = int64_t{1} << 24;
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kHeadDimMax = 1024;
constexpr int64_t kPositionsMax = int64_t{1} << 28;

Status impossible(const char* name, int64_t value, const std::string& why) {
  return invalid_argument(std::string("") + name + " = " + std::to_string(value) + ": " + why);
}

Result<int64_t> extent(const Json& json, const char* name, int64_t limit) {
  ASSIGN_OR_RETURN(const int64_t value, json_field<int64_t>(json, name));
  if (value >= 1 && value <= limit) return value;
  return impossible(name, value, "must be between 1 and " + std::to_string(limit));
}

Result<int64_t> extent_or(const Json& json, const char* name, int64_t limit, int64_t fallback) {
  if (!json.contains(name) || json[name].is_null()) return fallback;
  return extent(json, name, limit);
}

// Fields of Llama-like configurations that change what is computed. Each is accepted only with the value that changes
// nothing (or absent, or null).
Status check_inactive(const Json& json) {
  struct Field {
    const char* name;
    Json inactive;
  };
  const std::array<Field, 22> fields = {{
      {"hidden_act", "silu"},        {"hidden_activation", "silu"},      {"pretraining_tp", 1},
      {"attn_logit_softcapping", {}}, {"final_logit_softcapping", {}},    {"query_pre_attn_scalar", {}},
      {"logit_scale", 1},            {"logits_scaling", 1},              {"embedding_multiplier", 1},
      {"residual_multiplier", 1},    {"attention_multiplier", {}},       {"quantization_config", {}},
      {"num_experts", 0},            {"num_local_experts", 0},           {"n_routed_experts", 0},
      {"num_nextn_predict_layers", 0}, {"rope_interleaved", false},       {"is_encoder_decoder", false},
      {"add_cross_attention", false}, {"use_parallel_residual", false},   {"clip_qkv", {}},
      {"scale_attn_by_inverse_layer_idx", false},
  }};
  for (const Field& field : fields) {
    if (!json.contains(field.name) || json[field.name].is_null() || json[field.name] == field.inactive) continue;
    const std::string only = field.inactive.is_null() ? "only without it" : "only with " + field.inactive.dump();
    return unsupported(std::string("") + field.name + " = " + json[field.name].dump().substr(0, 80) +
                       " is not computed here, " + only);
  }
  return ok_status();
}

Status read_architecture(const Json& json, const Family& family, ModelConfig& config) {
  config.architecture = std::string(family.architecture);
  if (!json.contains("architectures") || json["architectures"].is_null()) return ok_status();
  const Json& list = json["architectures"];
  if (!list.is_array()) return invalid_argument("architectures is not a list");
  for (const Json& name : list) {
    if (name.is_string() && name.get<std::string>() == family.architecture) return ok_status();
  }
  if (list.empty()) return ok_status();
  return unsupported("architectures " + list.dump().substr(0, 80) + " is not computed here, " +
                     std::string(family.architecture) + " is");
}

Status read_shape(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.vocab_size, extent(json, "vocab_size", kVocabMax));
  ASSIGN_OR_RETURN(config.hidden_size, extent(json, "hidden_size", kExtentMax));
  ASSIGN_OR_RETURN(config.intermediate_size, extent(json, "intermediate_size", kExtentMax));
  ASSIGN_OR_RETURN(config.layers, extent(json, "num_hidden_layers", kLayersMax));
  ASSIGN_OR_RETURN(config.heads, extent(json, "num_attention_heads", kExtentMax));
  ASSIGN_OR_RETURN(config.kv_heads, extent_or(json, "num_key_value_heads", kExtentMax, config.heads));
  ASSIGN_OR_RETURN(config.head_dim, extent_or(json, "head_dim", kHeadDimMax, config.hidden_size / config.heads));
  ASSIGN_OR_RETURN(config.max_position_embeddings, extent(json, "max_position_embeddings", kPositionsMax));
  return ok_status();
}

// Asked once the family had its say, which may have set another head_dim or number of KV heads.
Status check_shape(const ModelConfig& config) {
  if (config.heads % config.kv_heads != 0) {
    return impossible("num_key_value_heads", config.kv_heads,
                      "must divide num_attention_heads = " + std::to_string(config.heads));
  }
  if (config.head_dim < 2 || config.head_dim % 2 != 0) {
    return impossible("head_dim", config.head_dim, "RoPE needs an even number of dimensions");
  }
  if (config.heads * config.head_dim > kExtentMax) {
    return impossible("num_attention_heads", config.heads,
                      "times head_dim is larger than " + std::to_string(kExtentMax));
  }
  return ok_status();
}

Result<int32_t> token_id(const Json& value, const char* name) {
  if (value.is_number_integer() && value >= 0 && value <= kVocabMax) return value.get<int32_t>();
  return invalid_argument(std::string("") + name + " holds " + value.dump().substr(0, 40) +
                          ", not a token id");
}

Status read_tokens(const Json& json, ModelConfig& config) {
  if (json.contains("bos_token_id") && !json["bos_token_id"].is_null()) {
    ASSIGN_OR_RETURN(config.bos_id, token_id(json["bos_token_id"], "bos_token_id"));
  }
  ASSIGN_OR_RETURN(config.eos_ids, read_token_ids(json, "eos_token_id"));
  return ok_status();
}

Status read_dtype(const Json& json, ModelConfig& config) {
  for (const char* name : {"dtype", "torch_dtype"}) {
    ASSIGN_OR_RETURN(const std::string text, json_field_or<std::string>(json, name, ""));
    if (text.empty() || text == "auto") continue;
    const Result<DType> dtype = parse_dtype(text);
    if (!dtype.ok()) return dtype.status().with_context(std::string("") + name);
    config.dtype = *dtype;
    return ok_status();
  }
  return ok_status();
}

}  // namespace

int64_t ModelConfig::context_length() const {
  if (rope.type != RopeType::kDynamic) return max_position_embeddings;
  const double grown = std::floor(static_cast<double>(max_position_embeddings) * rope.factor);
  return grown < static_cast<double>(kPositionsMax) ? static_cast<int64_t>(grown) : kPositionsMax;
}

Result<std::vector<int32_t>> read_token_ids(const Json& json, const char* name) {
  std::vector<int32_t> ids;
  if (!json.contains(name) || json[name].is_null()) return ids;
  const Json& field = json[name];
  for (const Json& value : field.is_array() ? field : Json::array({field})) {
    ASSIGN_OR_RETURN(const int32_t id, token_id(value, name));
    ids.push_back(id);
  }
  return ids;
}

Result<ModelConfig> parse_model_config(const Json& json) {
  if (!json.is_object()) return invalid_argument("not a JSON object");
  ModelConfig config;
  ASSIGN_OR_RETURN(config.model_type, json_field<std::string>(json, "model_type"));
  const Family* family = find_family(config.model_type);
  if (family == nullptr) {
    return unsupported("model_type \"" + config.model_type.substr(0, 80) +
                       "\" is not computed here; known: " + known_model_types());
  }
  RETURN_IF_ERROR(read_architecture(json, *family, config));
  RETURN_IF_ERROR(check_inactive(json));
  RETURN_IF_ERROR(read_shape(json, config));
  ASSIGN_OR_RETURN(config.rms_norm_eps, json_field_or<double>(json, "rms_norm_eps", 1e-6));
  if (!(config.rms_norm_eps > 0 && config.rms_norm_eps < 1)) {
    return invalid_argument("rms_norm_eps must be between 0 and 1");
  }
  ASSIGN_OR_RETURN(config.tie_word_embeddings, json_field_or<bool>(json, "tie_word_embeddings", false));
  config.window.assign(config.layers, 0);
  RETURN_IF_ERROR(family->read_config(json, config));
  RETURN_IF_ERROR(check_shape(config));
  RETURN_IF_ERROR(read_rope_config(json, config));
  RETURN_IF_ERROR(read_tokens(json, config));
  RETURN_IF_ERROR(read_dtype(json, config));
  return config;
}

Result<ModelConfig> load_model_config(const Path& dir) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(dir, ignored)) {
    return not_found("there is no folder " + dir.string() + "; give the path of a Hugging Face checkpoint");
  }
  ASSIGN_OR_RETURN(const Json json, read_json(dir / "config.json"));
  Result<ModelConfig> config = parse_model_config(json);
  if (!config.ok()) return config.status().with_context((dir / "config.json").string());
  return config;
}

}  // namespace umbel
