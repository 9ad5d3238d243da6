// AdapterLibrary: all adapters of one folder: known at start, loaded on first use by worker threads, kept within a byte
// budget (least recently used, unpinned, goes first), watched for changes.
//
// Any thread may call any method. An AdapterHandle pins: while it lives, the Adapter stays in memory, also after a newer
// version replaced it or it was unloaded. The budget counts the bytes of resident adapters exactly, and for one that is being
// loaded what building it takes; adapters that wait to be freed come on top for that moment. Files are mapped, not copied.
//
// Nothing that is read or hashed holds a lock, or holds up another folder: small files have threads of their own. The destructor
// ends whatever is being read within a piece of a file.
//
// open() makes large allocations of the whole process go back to the system when they are freed (base/process_memory.h), so that
// the budget is what the process takes.
//
// A folder is an adapter when it holds adapter_config.json. One that is being written (changed in the last fifth of a
// second) is left alone by the watcher until it rests; a folder that turned out to be incomplete is kFailed and tried again
// as soon as it changes.
//
// A changed folder is a new version. While the one before is in memory it goes on answering until the new one is there: a copy that is
// under way, broken files, a full budget change nothing but stats(), info() and the log. Then the name leads to the new one at once;
// requests that run on the old one finish on it, and requests that waited for it use it as long as it is in memory, else they are
// refused with kUnavailable ("send again"). The last keep_versions ones stay in memory, where they answer as NAME@VERSION and
// NAME@DIGEST (12 digits at least) and rollback() finds them. When room is needed, adapters that can be loaded again go first, then kept
// ones, then ones that answer but are not in their folder any more (the newer version has the name then, whatever its state).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "base/clock.h"
#include "base/status.h"
#include "io/beneath.h"
#include "store/adapter_id.h"
#include "store/rank_limits.h"

namespace umbel {

// One version of one adapter, shared by all requests that resolved its name to it. Opaque outside store/.
class AdapterEntry;
using AdapterRef = std::shared_ptr<AdapterEntry>;  // null = the base model alone

const AdapterId& adapter_id(const AdapterRef& ref);  // REQUIRES ref
// The folder when it has files about text of its own (store/folder.h), else "". REQUIRES ref.
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
  std::string chat_template_dir;  // folder, when it has files about text of its own (perhaps a template); else ""
  FolderPlace place;  // where its files are, and what their links may reach: open them through io/beneath.h only
  std::vector<AdapterId> kept;  // earlier versions in memory, the last one to answer first
  // A newer version that does not answer yet, and why not: it is being loaded (""), waits for room, can't be used.
  struct Update {
    AdapterId id;
    std::string trouble;
  };
  std::optional<Update> update;
};

// Counted since the library was opened.
struct LibraryStats {
  int64_t loads = 0;     // into memory
  int64_t failures = 0;  // loads that failed
  int64_t evictions = 0;
  Duration load_time{};  // of loads and failures together
  int64_t updates = 0;           // a newer version took over from one that answered
  int64_t update_failures = 0;   // one that can't be used did not: the older one goes on
  int64_t updates_waiting = 0;   // now: newer versions that don't answer yet
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
  std::vector<std::string> only;   // sub-folders that are looked at; empty = all (a verb that needs one reads one)
  size_t budget_bytes = size_t{4} << 30;
  int keep_versions = 0;           // of each name, beside the one that answers
  int load_threads = 2;            // with several, large files (store/lane.h) are left to one of them
  int inspect_threads = 2;         // which read and hash what is new or changed; the same holds
  Duration start_wait = from_seconds(2.0);  // how long open() waits for folders to be inspected when dir is watched
  Duration watch_interval = from_seconds(1.0);  // zero = not watched
  DType factor_dtype = DType::kF32;
  RankLimits ranks;                // a larger rank in a file is refused by number
  Path links_root;                 // files of adapters may be links to what lies beneath it; "" = no links
  int64_t vocabulary_max = INT32_MAX;  // likewise the tokens of an adapter with a resized vocabulary
  std::vector<std::string> reserved_names;  // no adapter may have these (the base's own name)
  AdapterLoader loader;            // empty = read_peft_dir and build_adapter; a test's seam
  const Clock* clock = nullptr;    // null = the real one; outlives the library
};

class AdapterLibrary {
 public:
  // Scans dir and inspects what is there: all of it when dir is not watched, else as much as start_wait allows; the rest
  // follows (resolve() says kUnavailable of it). A broken folder is listed as kFailed with its reason and does not stop the
  // others. targets outlives it.
  static Result<std::unique_ptr<AdapterLibrary>> open(const TargetTable& targets, const LibraryOptions& options);
  virtual ~AdapterLibrary() = default;

  // The version that answers under this name, or the one that NAME@VERSION or NAME@DIGEST says (an adapter that is called so comes
  // first). kNotFound names the known ones; kFailedPrecondition while it drains.
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

  // An earlier version answers again, the given or the last one; the one that did is kept. It stays until the folder changes again, or
  // a rollback to another. kNotFound, kFailedPrecondition with what is kept.
  virtual Result<AdapterId> rollback(const std::string&, std::optional<int64_t>) { return unsupported("this library keeps no versions"); }

  // Ends reading and hashing that is under way and starts no more: adapters that are resident go on. Before a shutdown, so that
  // nobody waits for a large file.
  virtual void stop_reading() {}

  virtual std::vector<AdapterInfo> list() const = 0;
  // Of this version, whatever its name stands for by now. REQUIRES ref.
  virtual AdapterInfo info(const AdapterRef& ref) const = 0;
  virtual size_t resident_bytes() const = 0;
  virtual LibraryStats stats() const = 0;
  // Looks at the folder now (the watcher calls it by itself).
  virtual void rescan() = 0;
};

}  // namespace umbel
