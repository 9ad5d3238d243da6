// AdapterLibrary: all adapters of one folder: known at start, loaded on first use by worker threads, kept within a byte
// budget (least recently used, unpinned, goes first), watched for changes.
//
// Any thread may call any method. An AdapterHandle pins: while it lives, the Adapter stays in memory, also after a newer
// version replaced it or it was unloaded. The budget counts the bytes of resident adapters exactly; a file being read and
// adapters that wait to be freed come on top for that moment.
//
// A folder is an adapter when it holds adapter_config.json. One that is being written (changed in the last fifth of a
// second) is left alone by the watcher until it rests; a folder that turned out to be incomplete is kFailed and tried again
// as soon as it changes. A changed folder is a new version: requests that run on the old one finish on it, and requests
// that waited for it use it as long as it is in memory, else they are refused with kUnavailable ("send again").
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
// The folder when it has a chat_template.jinja of its own, else "". REQUIRES ref.
const std::string& adapter_template_dir(const AdapterRef& ref);

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

// From a folder to an adapter ready to compute. Called by loading threads, several at once.
using AdapterLoader = std::function<Result<std::shared_ptr<const Adapter>>(const Path& folder)>;

struct LibraryOptions {
  Path dir;                        // empty = no adapters
  size_t budget_bytes = size_t{4} << 30;
  int load_threads = 1;
  Duration watch_interval = from_seconds(1.0);  // zero = not watched
  DType factor_dtype = DType::kF32;
  int32_t rank_max = 4096;         // a larger rank in a file is refused by number
  std::vector<std::string> reserved_names;  // no adapter may have these (the base's own name)
  AdapterLoader loader;            // empty = read_peft_dir and build_adapter; a test's seam
  const Clock* clock = nullptr;    // null = the real one; outlives the library
};

class AdapterLibrary {
 public:
  // Scans dir. A broken folder is listed as kFailed with its reason and does not stop the others. targets outlives it.
  static Result<std::unique_ptr<AdapterLibrary>> open(const TargetTable& targets, const LibraryOptions& options);
  virtual ~AdapterLibrary() = default;

  // The newest version under this name. kNotFound names the known ones; kFailedPrecondition while it drains.
  virtual Result<AdapterRef> resolve(const std::string& name) = 0;
  // Pins when resident. Otherwise starts loading (once) and gives nullopt: ask again. nullopt too while pinned adapters
  // leave no room. A failed load is its Status; kOutOfMemory (with the numbers) when it can't ever fit the budget.
  // A null ref gives the base's empty handle. Never waits for a file.
  virtual Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) = 0;
  // Blocks until resident or failed (command line, tests). kOutOfMemory with the numbers when pinned adapters leave no
  // room.
  virtual Result<AdapterHandle> pin(const AdapterRef& ref) = 0;

  // vLLM's load: resolved inside dir only ("..", absolute paths and links out of dir are refused); waits for the load.
  // kAlreadyExists when the name stands for another folder. A name that is known already is loaded now; one that failed
  // is tried again; one that was unloaded comes back.
  virtual Status load(const std::string& name, const std::string& folder) = 0;
  // The name is refused from now on, until load(); bytes are freed when the last handle goes.
  virtual Status unload(const std::string& name) = 0;

  virtual std::vector<AdapterInfo> list() const = 0;
  virtual size_t resident_bytes() const = 0;
  // Looks at the folder now (the watcher calls it by itself).
  virtual void rescan() = 0;
};

}  // namespace umbel
