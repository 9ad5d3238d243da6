#include "store/peft_dir.h"

#include <system_error>
#include <utility>

namespace umbel {
namespace {

constexpr size_t kConfigBytesMax = size_t{4} << 20;

Result<Safetensors> open_tensors(const Path& dir) {
  std::error_code error;
  const Path file = dir / kAdapterTensorsName;
  if (std::filesystem::exists(file, error)) return Safetensors::open_copy(file);  // may be rewritten while we read
  for (const char* pickled : {"adapter_model.bin", "adapter_model.pt", "pytorch_model.bin"}) {
    if (!std::filesystem::exists(dir / pickled, error)) continue;
    return unsupported((dir / pickled).string() +
                       " is a pickle, which can run code when it is read, so it is not read "
                       "here; convert it to safetensors (load it with PEFT and call save_pretrained with "
                       "safe_serialization=True)");
  }
  return not_found(file.string() +
                   " is missing; an adapter folder holds adapter_config.json and "
                   "adapter_model.safetensors");
}

}  // namespace

Result<ConfigValue> to_config_value(const Json& json) {
  ConfigValue made;
  if (json.is_boolean()) {
    made.value = json.get<bool>();
  } else if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return invalid_argument("the number " + json.dump() + " is too large");
  } else if (json.is_number_integer()) {
    made.value = json.get<int64_t>();
  } else if (json.is_number()) {
    made.value = json.get<double>();
  } else if (json.is_string()) {
    made.value = json.get<std::string>();
  } else if (json.is_array()) {
    ConfigList list;
    for (const Json& item : json) {
      ASSIGN_OR_RETURN(ConfigValue value, to_config_value(item));
      list.push_back(std::move(value));
    }
    made.value = std::move(list);
  } else if (json.is_object()) {
    ConfigObject object;
    for (const auto& [name, item] : json.items()) {
      ASSIGN_OR_RETURN(ConfigValue value, to_config_value(item));
      object.push_back({name, std::move(value)});
    }
    made.value = std::move(object);
  }
  return made;
}

Result<Json> PeftDir::read_config(const Path& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error))
    return not_found("the adapter folder " + dir.string() + " is missing");
  const Path file = dir / kAdapterConfigName;
  if (!std::filesystem::exists(file, error)) {
    return not_found(file.string() +
                     " is missing; an adapter folder holds adapter_config.json and "
                     "adapter_model.safetensors");
  }
  ASSIGN_OR_RETURN(Json json, read_json(file, kConfigBytesMax));
  if (!json.is_object()) return invalid_argument(file.string() + " is not a JSON object");
  return json;
}

Result<AdapterSpec> PeftDir::read_spec(const Path& dir) {
  ASSIGN_OR_RETURN(const Json json, read_config(dir));
  ASSIGN_OR_RETURN(const ConfigValue config, to_config_value(json));
  Result<AdapterSpec> spec = parse_spec(*config.as<ConfigObject>());
  if (!spec.ok()) return spec.status().with_context(dir.string());
  return spec;
}

Result<PeftDir> PeftDir::read(const Path& dir) {
  ASSIGN_OR_RETURN(AdapterSpec spec, read_spec(dir));
  ASSIGN_OR_RETURN(Safetensors file, open_tensors(dir));
  if (file.tensors().empty()) return data_loss((dir / kAdapterTensorsName).string() + " holds no tensors");
  AdapterSource source{std::move(spec), file.tensors()};
  return PeftDir(std::move(source), std::move(file));
}

std::vector<Path> PeftDir::files(const Path& dir) { return {dir / kAdapterConfigName, dir / kAdapterTensorsName}; }

Status write_peft_dir(const Path& dir, const Json& config, const std::map<std::string, TensorView>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return Status(Code::kPermissionDenied, "can't make the folder " + dir.string() + ": " + error.message());
  const Path file = dir / kAdapterConfigName;
  std::filesystem::remove(file, error);
  if (error) return Status(Code::kPermissionDenied, "can't replace " + file.string() + ": " + error.message());
  RETURN_IF_ERROR(write_safetensors(dir / kAdapterTensorsName, tensors, metadata));
  return write_file_atomic(file, config.dump(2) + "\n");
}

}  // namespace umbel
