#include "models/config.h"

#include <algorithm>
#include <cmath>

#include "io/stray.h"
#include "models/config_fields.h"
#include "models/registry.h"

namespace umbel {
namespace {

// Weights that somebody else quantised: what they are, and what to take instead.
Status check_quantised(const Json& json) {
  for (const char* name : {"quantization_config", "compression_config"}) {
    if (!json.contains(name) || json[name].is_null()) continue;
    const Json& field = json[name];
    std::string method = "an unnamed method";
    bool eight = false;
    if (field.is_object()) {
      if (field.contains("quant_method") && field["quant_method"].is_string()) {
        method = field["quant_method"].get<std::string>().substr(0, 40);
      } else if (field.contains("load_in_4bit") || field.contains("load_in_8bit")) {
        method = "bitsandbytes";
      }
      eight = field.value("load_in_8bit", Json(false)) == true || field.value("bits", Json(4)) == 8;
    }
    return unsupported(std::string(name) + ": the weights are stored quantised (" + method +
                       "), which is not read here; take the full-precision base that they were made from, with --dtype " +
                       (eight ? "int8" : "nf4") + " to have it as small");
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

// Asked once the family had its say, which may have set another head_dim or number of KV heads.
Status check_shape(const ModelConfig& config) {
  if (config.heads % config.kv_heads != 0) {
    return impossible_field("num_key_value_heads", config.kv_heads,
                      "must divide num_attention_heads = " + std::to_string(config.heads));
  }
  const int64_t turned = config.rotary_dim > 0 ? config.rotary_dim : config.head_dim;
  if (!config.learned_positions && (turned < 2 || turned % 2 != 0)) {
    return impossible_field("head_dim", config.head_dim, "RoPE needs an even number of dimensions, not " + std::to_string(turned));
  }
  if (config.heads * config.head_dim > kExtentMax) {
    return impossible_field("num_attention_heads", config.heads,
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

// A folder without config.json, and what it is instead.
Status not_a_model(const Path& dir) {
  std::error_code ignored;
  std::string text = dir.string() + " has no config.json";
  const std::string elsewhere = stray_place(dir, "config.json");
  if (!elsewhere.empty()) return not_found(text + elsewhere + "; give the folder that has it");
  if (std::filesystem::exists(dir / "adapter_config.json", ignored)) {
    return not_found(text + ": it is an adapter; give its base model here, and the adapter with --adapter");
  }
  if (std::filesystem::exists(dir / "params.json", ignored)) {
    return not_found(text + ": it is a checkpoint in its maker's own format; take the model in Hugging Face's format");
  }
  const std::string weights = stray_weights(dir);
  return not_found(text + (weights.empty() ? "; give the folder of a Hugging Face checkpoint" : ": " + weights));
}

}  // namespace

int64_t ModelConfig::context_length() const {
  // Where a sequence crosses the original length, transformers computes all keys anew with the long factors; here it ends there.
  if (rope.type == RopeType::kLongrope) return std::min(max_position_embeddings, rope.original_max_position_embeddings);
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
    return unknown_model_type(config.model_type);
  }
  RETURN_IF_ERROR(read_architecture(json, *family, config));
  RETURN_IF_ERROR(check_quantised(json));
  RETURN_IF_ERROR(family->read_config(json, config));
  RETURN_IF_ERROR(check_shape(config));
  RETURN_IF_ERROR(read_tokens(json, config));
  RETURN_IF_ERROR(read_dtype(json, config));
  return config;
}

Result<ModelConfig> load_model_config(const Path& dir) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(dir, ignored)) {
    return not_found("there is no folder " + dir.string() + "; give the path of a Hugging Face checkpoint");
  }
  if (!std::filesystem::exists(dir / "config.json", ignored)) return not_a_model(dir);
  ASSIGN_OR_RETURN(const Json json, read_json(dir / "config.json"));
  Result<ModelConfig> config = parse_model_config(json);
  if (!config.ok()) return config.status().with_context((dir / "config.json").string());
  return config;
}

}  // namespace umbel
