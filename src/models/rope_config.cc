#include "models/rope_config.h"

#include <array>
#include <cmath>
#include <string_view>

namespace umbel {
namespace {

constexpr std::array<std::string_view, 5> kTypeNames = {"default", "linear", "dynamic", "yarn", "llama3"};

bool present(const Json& object, const char* name) { return object.contains(name) && !object[name].is_null(); }

// The object of scaling fields; empty when the file has none. transformers lets rope_scaling win when both are there.
Result<Json> scaling_object(const Json& json) {
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!present(json, name)) continue;
    const Json& object = json[name];
    if (!object.is_object()) return invalid_argument(std::string("") + name + " is not an object");
    Json common;
    for (const char* layer_type : {"full_attention", "sliding_attention"}) {
      if (!present(object, layer_type)) continue;
      if (!common.is_null() && common != object[layer_type]) {
        return unsupported(std::string("") + name +
                           " differs between full_attention and sliding_attention; all layers have one RoPE here");
      }
      common = object[layer_type];
    }
    if (!common.is_null() && !common.is_object()) {
      return invalid_argument(std::string("") + name + " holds no object per layer type");
    }
    return common.is_null() ? object : common;
  }
  return Json::object();
}

Result<RopeType> read_type(const Json& scaling) {
  ASSIGN_OR_RETURN(const std::string legacy, json_field_or<std::string>(scaling, "type", "default"));
  ASSIGN_OR_RETURN(const std::string name, json_field_or<std::string>(scaling, "rope_type", legacy));
  std::string known;
  for (size_t i = 0; i < kTypeNames.size(); ++i) {
    if (kTypeNames[i] == name) return static_cast<RopeType>(i);
    known += (i ? ", " : "") + std::string(kTypeNames[i]);
  }
  return unsupported("rope_type \"" + name + "\" is not computed here; known: " + known);
}

Status positive(double value, const char* name) {
  if (std::isfinite(value) && value > 0) return ok_status();
  return invalid_argument(std::string("RoPE field ") + name + " must be a positive number");
}

// The length before scaling. A field beside the scaling object (as Phi-3 writes it) comes first, as in transformers.
Status read_original_length(const Json& json, const Json& scaling, ModelConfig& config) {
  const char* name = "original_max_position_embeddings";
  RopeConfig& rope = config.rope;
  rope.original_max_position_embeddings = config.max_position_embeddings;
  if (rope.type != RopeType::kYarn && rope.type != RopeType::kLlama3) return ok_status();
  ASSIGN_OR_RETURN(const int64_t inner, json_field_or<int64_t>(scaling, name, config.max_position_embeddings));
  ASSIGN_OR_RETURN(rope.original_max_position_embeddings, json_field_or<int64_t>(json, name, inner));
  return positive(static_cast<double>(rope.original_max_position_embeddings), name);
}

Status read_factor(const Json& scaling, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  if (rope.type == RopeType::kDefault) return ok_status();
  if (rope.type == RopeType::kYarn && !present(scaling, "factor")) {
    rope.factor = static_cast<double>(config.max_position_embeddings) /
                  static_cast<double>(rope.original_max_position_embeddings);
  } else {
    ASSIGN_OR_RETURN(rope.factor, json_field<double>(scaling, "factor"));
  }
  if (rope.type == RopeType::kDynamic && rope.factor < 1) {
    return invalid_argument("a dynamic RoPE factor is at least 1");
  }
  return positive(rope.factor, "factor");
}

// Zero counts as absent for the fields where transformers writes "x or default".
Result<double> nonzero_or(const Json& scaling, const char* name, double fallback) {
  ASSIGN_OR_RETURN(const double value, json_field_or<double>(scaling, name, fallback));
  return value == 0 ? fallback : value;
}

Status read_yarn(const Json& scaling, RopeConfig& rope) {
  ASSIGN_OR_RETURN(rope.beta_fast, nonzero_or(scaling, "beta_fast", 32.0));
  ASSIGN_OR_RETURN(rope.beta_slow, nonzero_or(scaling, "beta_slow", 1.0));
  ASSIGN_OR_RETURN(rope.truncate, json_field_or<bool>(scaling, "truncate", true));
  const auto optional = [&](const char* name, std::optional<double>& value) -> Status {
    if (!present(scaling, name)) return ok_status();
    ASSIGN_OR_RETURN(value, json_field<double>(scaling, name));
    return ok_status();
  };
  RETURN_IF_ERROR(optional("attention_factor", rope.attention_factor));
  RETURN_IF_ERROR(optional("mscale", rope.mscale));
  RETURN_IF_ERROR(optional("mscale_all_dim", rope.mscale_all_dim));
  RETURN_IF_ERROR(positive(rope.beta_fast, "beta_fast"));
  RETURN_IF_ERROR(positive(rope.beta_slow, "beta_slow"));
  if (rope.attention_factor) return positive(*rope.attention_factor, "attention_factor");
  return ok_status();
}

Status read_llama3(const Json& scaling, RopeConfig& rope) {
  ASSIGN_OR_RETURN(rope.low_freq_factor, json_field<double>(scaling, "low_freq_factor"));
  ASSIGN_OR_RETURN(rope.high_freq_factor, json_field<double>(scaling, "high_freq_factor"));
  RETURN_IF_ERROR(positive(rope.low_freq_factor, "low_freq_factor"));
  if (rope.high_freq_factor > rope.low_freq_factor) return ok_status();
  return invalid_argument("RoPE field high_freq_factor must be larger than low_freq_factor");
}

// Only whole heads are rotated here.
Status check_partial(const Json& json, const Json& scaling) {
  ASSIGN_OR_RETURN(const double outer, json_field_or<double>(json, "partial_rotary_factor", 1.0));
  ASSIGN_OR_RETURN(const double factor, json_field_or<double>(scaling, "partial_rotary_factor", outer));
  if (factor == 1.0) return ok_status();
  return unsupported("partial_rotary_factor " + std::to_string(factor) + " is not computed here, only 1");
}

}  // namespace

Status read_rope_config(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(const Json scaling, scaling_object(json));
  RETURN_IF_ERROR(check_partial(json, scaling));
  RopeConfig& rope = config.rope;
  ASSIGN_OR_RETURN(const double outer_theta, json_field_or<double>(json, "rope_theta", 10000.0));
  ASSIGN_OR_RETURN(rope.theta, json_field_or<double>(scaling, "rope_theta", outer_theta));
  RETURN_IF_ERROR(positive(rope.theta, "rope_theta"));
  ASSIGN_OR_RETURN(rope.type, read_type(scaling));
  RETURN_IF_ERROR(read_original_length(json, scaling, config));
  RETURN_IF_ERROR(read_factor(scaling, config));
  if (rope.type == RopeType::kYarn) RETURN_IF_ERROR(read_yarn(scaling, rope));
  if (rope.type == RopeType::kLlama3) RETURN_IF_ERROR(read_llama3(scaling, rope));
  if (rope.type == RopeType::kDynamic && config.head_dim <= 2) {
    return invalid_argument("dynamic RoPE needs head_dim > 2");
  }
  return ok_status();
}

}  // namespace umbel
