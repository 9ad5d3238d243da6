// PEFT folders: adapter_config.json + adapter_model.safetensors, read strictly and written atomically.
// Layout: PEFT 0.21 (flora.md section 6.2 has the rules); nothing is unpickled. Files are opened beneath their folder only
// (io/beneath.h), and a name that stands twice in a JSON object or among the tensors is refused.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "adapters/spec.h"
#include "base/status.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "store/adapter_files.h"

namespace umbel {

inline constexpr const char* kAdapterConfigName = "adapter_config.json";
inline constexpr const char* kAdapterTensorsName = "adapter_model.safetensors";

// A folder as read: the checked configuration and the mapped tensors. Move-only.
class PeftDir {
 public:
  // Only the configuration (cheap: what a listing needs). kNotFound when the folder or the file is missing.
  static Result<AdapterSpec> read_spec(const Path& dir);
  // adapter_config.json as it is, in its own order, only checked to be an object.
  static Result<OrderedJson> read_config(const Path& dir);
  // Configuration and tensors, copied into memory. A folder with only pickled weights (.bin) is refused with the remedy.
  static Result<PeftDir> read(const Path& dir);
  // Its tensors alone, as the file names them, copied into memory.
  static Result<Safetensors> read_tensors(const Path& dir);

  // The same of files that are open, the tensors mapped and not copied: at the end intact() and AdapterFiles::check_unchanged()
  // say whether what was read was there. files outlive the result.
  static Result<AdapterSpec> read_spec(const AdapterFiles& files);
  static Result<PeftDir> read(const AdapterFiles& files);
  // The tensors' file, or why there is none.
  static Result<const OpenFile*> tensors_of(const AdapterFiles& files);
  bool intact() const { return file_.intact(); }

  const AdapterSpec& spec() const { return source_.spec; }
  // What build_adapter() takes; its views live as long as this object.
  const AdapterSource& source() const { return source_; }

 private:
  static Result<PeftDir> make(AdapterSpec spec, Safetensors tensors, const Path& dir);
  PeftDir(AdapterSource source, Safetensors file) : source_(std::move(source)), file_(std::move(file)) {}
  AdapterSource source_;
  Safetensors file_;
};

// Writes a folder that read() takes. The configuration is renamed into place last: a folder without it is not complete
// yet. Over an existing adapter the old configuration goes first, so that old and new are never mixed. config's
// fields are sorted, with two spaces, as PEFT writes it; what is inside them keeps its order, which patterns depend on.
Status write_peft_dir(const Path& dir, const OrderedJson& config, const std::map<std::string, TensorView>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace umbel
