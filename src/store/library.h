// AdapterLibrary: all adapters of one folder: known at start, loaded on first use by worker threads, kept within a byte
// budget (least recently used, unpinned, goes first), watched for changes.
//
// Any thread may call any method. An AdapterHandle pins: while it lives, the Adapter stays in memory, also after a newer
// version replaced it or it was unloaded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "base/clock.h"
#include "base/status.h"
#include "io/file.h"
#include "store/adapter_id.h"

namespace umbel {

// One version of one adapter, shared by all requests that resolved its name to it. Opaque outside store/.
class AdapterEntry;
using AdapterRef = std::shared_ptr<AdapterEntry>;  // null = the base model alone

const AdapterId& adapter_id(const AdapterRef& ref);  // REQUIRES ref

enum class AdapterState : uint8_t { kKnown, kLoading, kResident, kDraining, kFailed };
std::string_view adapter_state_name(AdapterState state);

struct AdapterInfo {
  AdapterId id;
  AdapterState state = AdapterState::kKnown;
  std::string kind;    // "lora", "flora", ... as in the registry
  int32_t rank_max = 0;
  size_t bytes = 0;    // resident bytes; 0 unless resident
  int32_t pins = 0;
  std::string error;   // kFailed: why
  std::string chat_template_dir;  // folder, when it has its own chat_template.jinja; else ""
};

// Move-only pin.
class AdapterHandle {
 public:
  AdapterHandle() = default;  // the base: adapter() is null
  AdapterHandle(std::shared_ptr<const Adapter> adapter, std::shared_ptr<void> pin)
      : adapter_(std::move(adapter)), pin_(std::move(pin)) {}
  AdapterHandle(AdapterHandle&&) = default;
  AdapterHandle& operator=(AdapterHandle&&) = default;
  const Adapter* adapter() const { return adapter_.get(); }

 private:
  std::shared_ptr<const Adapter> adapter_;
  std::shared_ptr<void> pin_;
};

struct LibraryOptions {
  Path dir;                        // empty = no adapters
  size_t budget_bytes = size_t{4} << 30;
  int load_threads = 1;
  Duration watch_interval = from_seconds(1.0);  // zero = not watched
  DType factor_dtype = DType::kF32;
  int32_t rank_max = 4096;         // a larger rank in a file is refused by number
};

class AdapterLibrary {
 public:
  // Scans dir. A broken folder is listed as kFailed with its reason and does not stop the others. targets outlives it.
  static Result<std::unique_ptr<AdapterLibrary>> open(const TargetTable& targets, const LibraryOptions& options);
  virtual ~AdapterLibrary() = default;

  // The newest version under this name. kNotFound names the known ones; kFailedPrecondition while it drains.
  virtual Result<AdapterRef> resolve(const std::string& name) = 0;
  // Pins when resident. Otherwise starts loading (once) and gives nullopt: ask again. A failed load is its Status.
  // A null ref gives the base's empty handle.
  virtual Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) = 0;
  // Blocks until resident or failed (command line, tests).
  virtual Result<AdapterHandle> pin(const AdapterRef& ref) = 0;

  // vLLM's load: resolved inside dir only ("..", absolute paths and links out of dir are refused); waits for the load.
  virtual Status load(const std::string& name, const std::string& folder) = 0;
  // The name is refused from now on; bytes are freed when the last handle goes.
  virtual Status unload(const std::string& name) = 0;

  virtual std::vector<AdapterInfo> list() const = 0;
  virtual size_t resident_bytes() const = 0;
  // Looks at the folder now (the watcher calls it by itself).
  virtual void rescan() = 0;
};

}  // namespace umbel
