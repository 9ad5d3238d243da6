#include "models/rope_config.h"

#include <array>
#include <cmath>
#include <string_view>

#include "models/config_fields.h"

namespace umbel {
namespace {

constexpr std::array<std::string_view, 6> kTypeNames = {"default", "linear", "dynamic", "yarn", "llama3", "longrope"};

bool present(const Json& object, const char* name) { return field_present(object, name); }

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

Result<RopeType> read_type(const Json& scaling, const RopeForms& forms) {
  ASSIGN_OR_RETURN(const std::string legacy, json_field_or<std::string>(scaling, "type", "default"));
  ASSIGN_OR_RETURN(std::string name, json_field_or<std::string>(scaling, "rope_type", legacy));
  if (forms.longrope && (name == "su" || name == "yarn")) name = "longrope";  // older names of Phi-3's files
  std::string known;
  for (size_t i = 0; i < kTypeNames.size(); ++i) {
    const auto type = static_cast<RopeType>(i);
    const bool computed = forms.longrope ? type == RopeType::kDefault || type == RopeType::kLongrope : type != RopeType::kLongrope;
    if (!computed) continue;
    if (kTypeNames[i] == name) return type;
    known += (known.empty() ? "" : ", ") + std::string(kTypeNames[i]);
  }
  return unsupported("rope_type \"" + name + "\" is not computed here; known: " + known);
}

Status positive(double value, const char* name) {
  if (std::isfinite(value) && value > 0) return ok_status();
  return invalid_argument(std::string("RoPE field ") + name + " must be a positive number");
}

// The length before scaling. A field beside the scaling object (as Phi-3 writes it) comes first, as in transformers.
Status read_original_length(const Json& json, const Json& scaling, const RopeForms& forms, ModelConfig& config) {
  const char* name = "original_max_position_embeddings";
  RopeConfig& rope = config.rope;
  rope.original_max_position_embeddings = config.max_position_embeddings;
  if (rope.type != RopeType::kYarn && rope.type != RopeType::kLlama3 && rope.type != RopeType::kLongrope) return ok_status();
  ASSIGN_OR_RETURN(const int64_t inner, json_field_or<int64_t>(scaling, name, forms.original > 0 ? forms.original : config.max_position_embeddings));
  ASSIGN_OR_RETURN(rope.original_max_position_embeddings, json_field_or<int64_t>(json, name, inner));
  return positive(static_cast<double>(rope.original_max_position_embeddings), name);
}

Status read_factor(const Json& scaling, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  if (rope.type == RopeType::kDefault || rope.type == RopeType::kLongrope) return ok_status();
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

// How much of a head turns. transformers takes the whole part of the product.
Status read_partial(const Json& json, const Json& scaling, const RopeForms& forms, ModelConfig& config) {
  const bool computed = forms.partial > 0;
  ASSIGN_OR_RETURN(const double outer, json_field_or<double>(json, forms.partial_name, computed ? forms.partial : 1.0));
  ASSIGN_OR_RETURN(const double factor, json_field_or<double>(scaling, "partial_rotary_factor", outer));
  if (factor == 1.0) return ok_status();
  const std::string what = std::string(forms.partial_name) + " " + std::to_string(factor);
  if (!computed) return unsupported(what + " is not computed here, only 1");
  if (!(factor > 0 && factor <= 1)) return invalid_argument(what + " must be between 0 and 1");
  config.rotary_dim = static_cast<int64_t>(static_cast<double>(config.head_dim) * factor);
  if (config.rotary_dim >= 2 && config.rotary_dim % 2 == 0) return ok_status();
  return invalid_argument(what + " of " + std::to_string(config.head_dim) + " dimensions turns " + std::to_string(config.rotary_dim) +
                          " of them, which must be an even number from 2 on");
}

Status read_factors(const Json& scaling, const char* name, int64_t count, std::vector<double>& factors) {
  const auto wrong = [&] {
    return invalid_argument(std::string("RoPE field ") + name + " must be a list of " + std::to_string(count) + " positive numbers");
  };
  if (!present(scaling, name) || !scaling[name].is_array() || static_cast<int64_t>(scaling[name].size()) != count) return wrong();
  for (const Json& value : scaling[name]) {
    if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>())) return wrong();
    factors.push_back(value.get<double>());
  }
  return ok_status();
}

Status read_longrope(const Json& scaling, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  const int64_t dims = config.rotary_dim > 0 ? config.rotary_dim : config.head_dim;
  RETURN_IF_ERROR(read_factors(scaling, "short_factor", dims / 2, rope.short_factor));
  RETURN_IF_ERROR(read_factors(scaling, "long_factor", dims / 2, rope.long_factor));
  for (const char* name : {"short_mscale", "long_mscale"}) {
    if (present(scaling, name)) return unsupported(std::string("RoPE field ") + name + " is not computed here, only without it");
  }
  const double longer = static_cast<double>(config.max_position_embeddings) / static_cast<double>(rope.original_max_position_embeddings);
  ASSIGN_OR_RETURN(rope.factor, json_field_or<double>(scaling, "factor", longer));
  RETURN_IF_ERROR(positive(rope.factor, "factor"));
  if (present(scaling, "attention_factor")) {
    ASSIGN_OR_RETURN(rope.attention_factor, json_field<double>(scaling, "attention_factor"));
    return positive(*rope.attention_factor, "attention_factor");
  }
  if (rope.factor > 1 && rope.original_max_position_embeddings < 2) {
    return invalid_argument("original_max_position_embeddings must be at least 2 for longrope");
  }
  return ok_status();
}

Status read_object(const Json& json, const Json& scaling, const RopeForms& forms, ModelConfig& config) {
  RETURN_IF_ERROR(read_partial(json, scaling, forms, config));
  RopeConfig& rope = config.rope;
  ASSIGN_OR_RETURN(const double outer_theta, json_field_or<double>(json, forms.theta_name, forms.theta));
  ASSIGN_OR_RETURN(rope.theta, json_field_or<double>(scaling, "rope_theta", outer_theta));
  RETURN_IF_ERROR(positive(rope.theta, "rope_theta"));
  ASSIGN_OR_RETURN(rope.type, read_type(scaling, forms));
  RETURN_IF_ERROR(read_original_length(json, scaling, forms, config));
  RETURN_IF_ERROR(read_factor(scaling, config));
  if (rope.type == RopeType::kYarn) RETURN_IF_ERROR(read_yarn(scaling, rope));
  if (rope.type == RopeType::kLlama3) RETURN_IF_ERROR(read_llama3(scaling, rope));
  if (rope.type == RopeType::kLongrope) RETURN_IF_ERROR(read_longrope(scaling, config));
  if (rope.type == RopeType::kDynamic && (config.rotary_dim > 0 ? config.rotary_dim : config.head_dim) <= 2) {
    return invalid_argument("dynamic RoPE needs head_dim > 2");
  }
  return ok_status();
}

// One layer type's object; empty where there is none.
Result<Json> layer_object(const Json& json, const char* type) {
  if (!present(json, "rope_parameters")) return Json::object();
  const Json& all = json["rope_parameters"];
  if (!all.is_object()) return invalid_argument("rope_parameters is not an object");
  if (!present(all, type)) return Json::object();
  if (!all[type].is_object()) return invalid_argument(std::string("rope_parameters holds no object for ") + type);
  return all[type];
}

}  // namespace

Status read_rope_config(const Json& json, const RopeForms& forms, ModelConfig& config) {
  ASSIGN_OR_RETURN(const Json scaling, scaling_object(json));
  return read_object(json, scaling, forms, config);
}

Status read_two_ropes(const Json& json, const RopeForms& global, const RopeForms& local, ModelConfig& config) {
  ASSIGN_OR_RETURN(const Json sliding, layer_object(json, "sliding_attention"));
  RETURN_IF_ERROR(read_object(json, sliding, local, config));
  config.local_rope = config.rope;
  config.rope = RopeConfig();
  ASSIGN_OR_RETURN(Json full, layer_object(json, "full_attention"));
  if (present(json, "rope_scaling")) {  // the older dialect's, of the global layers alone
    if (!json["rope_scaling"].is_object()) return invalid_argument("rope_scaling is not an object");
    full.update(json["rope_scaling"]);
  }
  RETURN_IF_ERROR(read_object(json, full, global, config));
  for (const RopeConfig& rope : {*config.local_rope, config.rope}) {
    if (rope.type == RopeType::kDynamic) return unsupported("rope_type \"dynamic\" is not computed here for layers of two kinds");
  }
  return ok_status();
}

}  // namespace umbel
