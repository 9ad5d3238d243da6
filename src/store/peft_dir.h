// PEFT folders: adapter_config.json + adapter_model.safetensors, read strictly and written atomically.
// Layout: PEFT 0.21 (flora.md section 6.2 has the rules); nothing is unpickled.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "adapters/spec.h"
#include "base/status.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace umbel {

inline constexpr const char* kAdapterConfigName = "adapter_config.json";
inline constexpr const char* kAdapterTensorsName = "adapter_model.safetensors";

// A folder as read: the checked configuration and the mapped tensors. Move-only.
class PeftDir {
 public:
  // Only the configuration (cheap: what a listing needs). kNotFound when the folder or the file is missing.
  static Result<AdapterSpec> read_spec(const Path& dir);
  // adapter_config.json as it is, only checked to be an object.
  static Result<Json> read_config(const Path& dir);
  // Configuration and tensors. A folder with only pickled weights (.bin) is refused with the remedy.
  static Result<PeftDir> read(const Path& dir);

  const AdapterSpec& spec() const { return source_.spec; }
  // What build_adapter() takes; its views live as long as this object.
  const AdapterSource& source() const { return source_; }

  // The files that decide what an adapter computes, in the order in which a content digest takes them.
  static std::vector<Path> files(const Path& dir);

 private:
  PeftDir(AdapterSource source, Safetensors file) : source_(std::move(source)), file_(std::move(file)) {}
  AdapterSource source_;
  Safetensors file_;
};

// JSON as adapters/ reads it. kInvalidArgument for numbers outside 64-bit integers.
Result<ConfigValue> to_config_value(const Json& json);

// Writes a folder that read() takes. The configuration is renamed into place last: a folder without it is not complete
// yet. Over an existing adapter the old configuration goes first, so that old and new are never mixed. config gets
// sorted keys and two spaces, as PEFT writes it.
Status write_peft_dir(const Path& dir, const Json& config, const std::map<std::string, TensorView>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace umbel
