#include "store/library.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <stop_token>
#include <thread>

#include "adapters/registry.h"
#include "base/log.h"
#include "base/memory_reserve.h"
#include "base/process_memory.h"
#include "store/adapter_files.h"
#include "store/catalog.h"
#include "store/peft_dir.h"
#include "store/shelf.h"
#include "store/watcher.h"

namespace umbel {
namespace {

constexpr Duration kForEver = std::chrono::hours(24 * 365);
constexpr Duration kLookAgainSoon = std::chrono::milliseconds(250);
constexpr int kLookShare = 24;  // looks take one part in so many of a thread's time, however many folders there are...
constexpr Duration kLookPauseMax = std::chrono::seconds(5);  // ...as far as a change is seen within this
constexpr Duration kPinLookTime = std::chrono::milliseconds(50);  // fresh adapters become movable without a notice
constexpr int kLoaderNice = 10;  // below the compute threads, so that a load does not slow running streams down

using Loaded = Result<std::shared_ptr<const Adapter>>;

// The adapters of one folder: a catalog of the disk, a shelf of memory, threads that load, one that watches.
class FolderLibrary final : public AdapterLibrary {
 public:
  FolderLibrary(const TargetTable& targets, const LibraryOptions& options)
      : targets_(targets),
        options_(options),
        shelf_(std::make_shared<Shelf>(options.budget_bytes, options.clock ? *options.clock : real_clock_, options.keep_versions)),
        catalog_({.dir = options.dir, .only = options.only, .links_root = options.links_root, .reserved_names = options.reserved_names,
                  .limits = {.budget_bytes = options.budget_bytes, .ranks = options.ranks,
                             .building = options.loader ? Building::kElsewhere : Building::kHere}},
                 shelf_) {}
  ~FolderLibrary() override;

  Status start();

  Result<AdapterRef> resolve(const std::string& name) override { return shelf_->resolve(name); }
  Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) override;
  Result<AdapterHandle> pin(const AdapterRef& ref) override;
  Status load(const std::string& name, const std::string& folder) override;
  Status unload(const std::string& name) override { return shelf_->unload(name); }
  std::vector<AdapterInfo> list() const override { return shelf_->list(); }
  AdapterInfo info(const AdapterRef& ref) const override { return shelf_->info(ref); }
  size_t resident_bytes() const override { return shelf_->resident_bytes(); }
  LibraryStats stats() const override { return shelf_->stats(); }
  Result<AdapterId> rollback(const std::string& name, std::optional<int64_t> version) override { return shelf_->rollback(name, version); }
  void stop_reading() override { stop_.request_stop(); }
  void rescan() override {
    look(Catalog::Patience::kNow);
    catalog_.wait_idle(kForEver);
    shelf_->wait_arrivals(kForEver);
  }

 private:
  bool look(Catalog::Patience patience);
  void inspect_main(Lane lane);
  void load_main(Lane lane);
  Loaded load_files(const AdapterFiles& files, const std::string& kind);
  Loaded load_checked(const EntryFacts& facts);
  Loaded build(const AdapterFiles& files, const std::string& kind);

  const TargetTable& targets_;
  const LibraryOptions options_;
  const RealClock real_clock_;
  SharedTensors shared_;
  const std::shared_ptr<Shelf> shelf_;
  Catalog catalog_;
  std::atomic<bool> look_failed_ = false;  // said so already
  std::stop_source stop_;
  std::vector<std::thread> threads_;  // that inspect and load
  std::unique_ptr<Watcher> watcher_;
};

FolderLibrary::~FolderLibrary() {
  stop_.request_stop();
  shelf_->close();
  watcher_.reset();
  for (std::thread& thread : threads_) thread.join();
}

Status FolderLibrary::start() {
  if (!options_.dir.empty()) {
    const Result<bool> looked = catalog_.look(Catalog::Patience::kNow);
    if (!looked.ok()) return looked.status();
  }
  for (int i = 0; i < std::max(1, options_.load_threads); ++i) {
    threads_.emplace_back([this, i] { load_main(lane_of_thread(i)); });
  }
  if (options_.dir.empty()) return ok_status();
  for (int i = 0; i < std::max(1, options_.inspect_threads); ++i) {
    threads_.emplace_back([this, i] { inspect_main(lane_of_thread(i)); });
  }
  const bool watched = options_.watch_interval > Duration{};
  catalog_.wait_idle(watched ? options_.start_wait : kForEver);
  if (!watched) return ok_status();
  watcher_ = std::make_unique<Watcher>(options_.watch_interval, [this] {
    const TimePoint begin = real_clock_.now();
    const bool pending = look(Catalog::Patience::kWhenAtRest);
    if (pending) return std::min(options_.watch_interval, kLookAgainSoon);
    return std::max(options_.watch_interval, std::min(kLookShare * (real_clock_.now() - begin), kLookPauseMax));
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
  for (const Status& waiting : shelf_->start_arrivals()) {
    LOG_WARN("a newer version waits, the older one goes on answering: {}", waiting.message());
  }
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
  ASSIGN_OR_RETURN(const AdapterRef ref, catalog_.add(name, folder, stop_.get_token()));
  return pin(ref).status();
}

void FolderLibrary::inspect_main(Lane lane) {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLoaderNice);  // Linux: of this thread alone
  const MemoryPriority first;
  const std::stop_token stop = stop_.get_token();
  while (catalog_.wait_job(lane, stop)) catalog_.inspect_next(lane, stop);
}

void FolderLibrary::load_main(Lane lane) {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLoaderNice);
  const MemoryPriority first;
  while (const AdapterRef ref = shelf_->next_load(lane)) {
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
      LOG_WARN("adapter {}: version {} cannot be loaded: {}{}", facts.id.name, facts.id.version, loaded.status().message(),
               shelf_->who_goes_on(ref));
    }
    shelf_->finish_load(ref, std::move(loaded));
    if (changed) look(Catalog::Patience::kWhenAtRest);
  }
}

// What was read is what the id's digest says, or it is not used.
Loaded FolderLibrary::load_checked(const EntryFacts& facts) {
  const MemoryPriority ordinary(MemoryPriority::Level::kOrdinary);
  const Status changed(Code::kUnavailable, "its folder changed meanwhile; send the request again");
  const Result<AdapterFiles> files = AdapterFiles::open(facts.place);
  if (!files.ok()) return files.status().code() == Code::kNotFound ? changed : files.status();
  ASSIGN_OR_RETURN(const std::string digest, files->digest(stop_.get_token()));
  if (digest != facts.id.digest) return changed;
  Loaded loaded = load_files(*files, facts.kind);
  RETURN_IF_ERROR(files->check_unchanged());
  return loaded;
}

// A stranger's file must not end the program: what libraries throw (out of memory, mostly) stops here.
Loaded FolderLibrary::load_files(const AdapterFiles& files, const std::string& kind) {
  try {
    return options_.loader ? options_.loader(files.folder().path()) : build(files, kind);
  } catch (const std::bad_alloc&) {
    return Status(Code::kUnavailable, "there was not enough memory to read it; send the request again");
  } catch (const std::exception& error) {
    return internal_error(error.what());
  }
}

Loaded FolderLibrary::build(const AdapterFiles& files, const std::string& kind) {
  ASSIGN_OR_RETURN(const PeftDir folder, PeftDir::read(files));
  Loaded built = build_adapter(folder.source(), targets_,
                               {.factor_dtype = options_.factor_dtype,
                                .rank_max = options_.ranks.of(kind),
                                .vocabulary_max = options_.vocabulary_max,
                                .shared = &shared_});
  if (!folder.intact()) return data_loss("adapter_model.safetensors became shorter while it was read");
  return built;
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
  separate_large_allocations();
  auto library = std::make_unique<FolderLibrary>(targets, options);
  RETURN_IF_ERROR(library->start());
  return std::unique_ptr<AdapterLibrary>(std::move(library));
}

}  // namespace umbel
