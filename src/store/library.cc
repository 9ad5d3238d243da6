#include "store/library.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "adapters/registry.h"
#include "base/log.h"
#include "store/catalog.h"
#include "store/digest.h"
#include "store/peft_dir.h"
#include "store/shelf.h"
#include "store/watcher.h"

namespace umbel {
namespace {

constexpr Duration kLookAgainSoon = std::chrono::milliseconds(250);
constexpr Duration kPinLookTime = std::chrono::milliseconds(50);  // fresh adapters become movable without a notice
constexpr int kLoaderNice = 10;  // below the compute threads, so that a load does not slow running streams down

using Loaded = Result<std::shared_ptr<const Adapter>>;

// The adapters of one folder: a catalog of the disk, a shelf of memory, threads that load, one that watches.
class FolderLibrary final : public AdapterLibrary {
 public:
  FolderLibrary(const TargetTable& targets, const LibraryOptions& options)
      : targets_(targets),
        options_(options),
        shelf_(std::make_shared<Shelf>(options.budget_bytes, options.clock ? *options.clock : real_clock_)),
        catalog_(options.dir, options.reserved_names, shelf_) {}
  ~FolderLibrary() override;

  Status start();

  Result<AdapterRef> resolve(const std::string& name) override { return shelf_->resolve(name); }
  Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) override;
  Result<AdapterHandle> pin(const AdapterRef& ref) override;
  Status load(const std::string& name, const std::string& folder) override;
  Status unload(const std::string& name) override { return shelf_->unload(name); }
  std::vector<AdapterInfo> list() const override { return shelf_->list(); }
  size_t resident_bytes() const override { return shelf_->resident_bytes(); }
  void rescan() override { look(Catalog::Patience::kNow); }

 private:
  bool look(Catalog::Patience patience);
  void load_main();
  Loaded load_folder(const Path& folder);
  Loaded load_checked(const EntryFacts& facts);
  Loaded build(const Path& folder);

  const TargetTable& targets_;
  const LibraryOptions options_;
  const RealClock real_clock_;
  SharedTensors shared_;
  const std::shared_ptr<Shelf> shelf_;
  Catalog catalog_;
  std::atomic<bool> look_failed_ = false;  // said so already
  std::vector<std::thread> loaders_;
  std::unique_ptr<Watcher> watcher_;
};

FolderLibrary::~FolderLibrary() {
  watcher_.reset();
  shelf_->close();
  for (std::thread& loader : loaders_) loader.join();
}

Status FolderLibrary::start() {
  if (!options_.dir.empty()) {
    const Result<bool> looked = catalog_.look(Catalog::Patience::kNow);
    if (!looked.ok()) return looked.status();
  }
  for (int i = 0; i < std::max(1, options_.load_threads); ++i) loaders_.emplace_back([this] { load_main(); });
  if (options_.dir.empty() || options_.watch_interval <= Duration{}) return ok_status();
  watcher_ = std::make_unique<Watcher>(options_.watch_interval, [this] {
    const bool pending = look(Catalog::Patience::kWhenAtRest);
    return pending ? std::min(options_.watch_interval, kLookAgainSoon) : options_.watch_interval;
  });
  return ok_status();
}

// True when something is still being written.
bool FolderLibrary::look(Catalog::Patience patience) {
  if (options_.dir.empty()) return false;
  const Result<bool> pending = catalog_.look(patience);
  const bool failed = !pending.ok();
  if (failed && !look_failed_.exchange(true)) LOG_WARN("{}; what is known stays", pending.status().message());
  if (!failed) look_failed_ = false;
  return !failed && *pending;
}

Result<std::optional<AdapterHandle>> FolderLibrary::try_pin(const AdapterRef& ref) {
  if (!ref) return std::optional<AdapterHandle>(AdapterHandle());
  PinAnswer answer = shelf_->try_pin(ref);
  if (!answer.failure.ok()) return answer.failure;
  return std::move(answer.handle);
}

Result<AdapterHandle> FolderLibrary::pin(const AdapterRef& ref) {
  if (!ref) return AdapterHandle();
  while (true) {
    const uint64_t seen = shelf_->changes();
    PinAnswer answer = shelf_->try_pin(ref);
    if (!answer.failure.ok()) return answer.failure;
    if (answer.handle) return *std::move(answer.handle);
    if (answer.wait == PinAnswer::Wait::kRoom && answer.held_by_pins) return answer.no_room;
    shelf_->wait_change(seen, kPinLookTime);
  }
}

Status FolderLibrary::load(const std::string& name, const std::string& folder) {
  if (options_.dir.empty()) return failed_precondition("there is no adapters folder: start with --adapters DIR");
  ASSIGN_OR_RETURN(const AdapterRef ref, catalog_.add(name, folder));
  return pin(ref).status();
}

void FolderLibrary::load_main() {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLoaderNice);  // Linux: of this thread alone
  while (const AdapterRef ref = shelf_->next_load()) {
    const EntryFacts& facts = ref->facts();
    const TimePoint begin = real_clock_.now();
    Loaded loaded = load_checked(facts);
    const double milliseconds = 1e3 * to_seconds(real_clock_.now() - begin);
    const bool changed = !loaded.ok() && loaded.status().code() == Code::kUnavailable;
    if (changed) catalog_.distrust(facts.id.name);
    if (loaded.ok()) {
      LOG_INFO("adapter {}: version {} loaded in {:.1f} ms, {} bytes, {}", facts.id.name, facts.id.version, milliseconds,
               (*loaded)->bytes(), (*loaded)->report().coverage());
    } else {
      LOG_WARN("adapter {}: version {} cannot be loaded: {}", facts.id.name, facts.id.version, loaded.status().message());
    }
    shelf_->finish_load(ref, std::move(loaded));
    if (changed) look(Catalog::Patience::kWhenAtRest);
  }
}

// What was read is what the id's digest says, or it is not used.
Loaded FolderLibrary::load_checked(const EntryFacts& facts) {
  const FolderStamp before = stamp_folder(facts.folder);
  ASSIGN_OR_RETURN(const std::string digest, digest_files(adapter_files(facts.folder)));
  Loaded loaded = load_folder(facts.folder);
  if (digest == facts.id.digest && stamp_folder(facts.folder) == before) return loaded;
  return Status(Code::kUnavailable, "its folder changed meanwhile; send the request again");
}

// A stranger's file must not end the program: what libraries throw (out of memory, mostly) stops here.
Loaded FolderLibrary::load_folder(const Path& folder) {
  try {
    return options_.loader ? options_.loader(folder) : build(folder);
  } catch (const std::bad_alloc&) {
    return Status(Code::kOutOfMemory, "there was not enough memory to read it");
  } catch (const std::exception& error) {
    return internal_error(error.what());
  }
}

Loaded FolderLibrary::build(const Path& folder) {
  ASSIGN_OR_RETURN(const PeftDir files, PeftDir::read(folder));
  return build_adapter(files.source(), targets_,
                       {.factor_dtype = options_.factor_dtype,
                        .rank_max = options_.rank_max,
                        .shared = &shared_});
}

}  // namespace

const AdapterId& adapter_id(const AdapterRef& ref) { return ref->facts().id; }

const std::string& adapter_template_dir(const AdapterRef& ref) { return ref->facts().chat_template_dir; }

std::string_view adapter_state_name(AdapterState state) {
  switch (state) {
    case AdapterState::kKnown: return "known";
    case AdapterState::kLoading: return "loading";
    case AdapterState::kResident: return "resident";
    case AdapterState::kDraining: return "draining";
    case AdapterState::kFailed: return "failed";
  }
  return "unknown";
}

Result<std::unique_ptr<AdapterLibrary>> AdapterLibrary::open(const TargetTable& targets, const LibraryOptions& options) {
  auto library = std::make_unique<FolderLibrary>(targets, options);
  RETURN_IF_ERROR(library->start());
  return std::unique_ptr<AdapterLibrary>(std::move(library));
}

}  // namespace umbel
