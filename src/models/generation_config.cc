#include "models/generation_config.h"

#include <cmath>

namespace umbel {
namespace {

// A finite number, or nothing when absent or null.
Status read_number(const Json& json, const char* name, std::optional<double>& value) {
  if (!json.contains(name) || json[name].is_null()) return ok_status();
  ASSIGN_OR_RETURN(const double number, json_field<double>(json, name));
  if (!std::isfinite(number) || number < 0) {
    return invalid_argument(std::string("") + name + " must not be negative");
  }
  value = number;
  return ok_status();
}

Status read_defaults(const Json& json, GenerationConfig& config) {
  if (json.contains("do_sample") && !json["do_sample"].is_null()) {
    ASSIGN_OR_RETURN(config.do_sample, json_field<bool>(json, "do_sample"));
  }
  RETURN_IF_ERROR(read_number(json, "temperature", config.temperature));
  RETURN_IF_ERROR(read_number(json, "top_p", config.top_p));
  RETURN_IF_ERROR(read_number(json, "min_p", config.min_p));
  RETURN_IF_ERROR(read_number(json, "typical_p", config.typical_p));
  RETURN_IF_ERROR(read_number(json, "repetition_penalty", config.repetition_penalty));
  if (json.contains("top_k") && !json["top_k"].is_null()) {
    ASSIGN_OR_RETURN(config.top_k, json_field<int64_t>(json, "top_k"));
  }
  return ok_status();
}

}  // namespace

Result<GenerationConfig> load_generation_config(const Path& dir, const ModelConfig& config) {
  GenerationConfig generation;
  generation.eos_ids = config.eos_ids;
  const Path file = dir / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return generation;
  ASSIGN_OR_RETURN(const Json json, read_json(file));
  if (!json.is_object()) return invalid_argument(file.string() + " is not an object");
  Result<std::vector<int32_t>> eos = read_token_ids(json, "eos_token_id");
  if (!eos.ok()) return eos.status().with_context(file.string());
  if (!eos->empty()) generation.eos_ids = *eos;
  if (Status status = read_defaults(json, generation); !status.ok()) return status.with_context(file.string());
  return generation;
}

}  // namespace umbel
