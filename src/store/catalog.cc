#include "store/catalog.h"

#include <algorithm>
#include <new>

#include "base/log.h"
#include "base/memory_reserve.h"
#include "base/utc.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

// One spelling for one folder, without touching links (a deployment may switch one).
Path absolute_folder(const Path& dir) {
  std::error_code error;
  const Path absolute = std::filesystem::absolute(dir, error);
  const Path normal = (error ? dir : absolute).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

CatalogOptions with_absolute_dir(CatalogOptions options) {
  options.dir = absolute_folder(options.dir);
  return options;
}

}  // namespace

Catalog::Catalog(CatalogOptions options, std::shared_ptr<Shelf> shelf)
    : options_(with_absolute_dir(std::move(options))), shelf_(std::move(shelf)) {}

Status Catalog::check_name(const std::string& name) const {
  RETURN_IF_ERROR(check_adapter_name(name));
  const auto& reserved = options_.reserved_names;
  if (std::find(reserved.begin(), reserved.end(), name) == reserved.end()) return ok_status();
  return invalid_argument("the name \"" + name + "\" is taken by the base model");
}

bool Catalog::at_rest(const std::string& name, const FolderStamp& stamp) const {
  if (utc_now_ms() * 1'000'000 - stamp.newest_ns() > kFolderRestTime.count()) return true;
  // A file server's clock may be ahead of ours: what did not change between two looks is at rest too.
  const auto seen = seen_.find(name);
  return seen != seen_.end() && seen->second.stamp == stamp;
}

// ---- looking --------------------------------------------------------------------------------------------------------

Result<bool> Catalog::look(Patience patience) {
  const std::lock_guard one_look(look_mutex_);
  ASSIGN_OR_RETURN(FoundFolders found, options_.only.empty() ? scan_folders(options_.dir, options_.links_root, seen_)
                                                              : look_at_folders(options_.dir, options_.only, options_.links_root));
  std::map<std::string, Path> by_hand;
  {
    const Lock lock(mutex_);
    for (const auto& [name, known] : known_) {
      if (known.by_hand) by_hand.emplace(name, known.folder);
    }
  }
  for (const auto& [name, path] : by_hand) {
    Result<FoundFolder> folder = find_folder(options_.dir, path.lexically_relative(options_.dir).string(), options_.links_root);
    if (folder.ok() && folder->stamp.has(kAdapterConfigName)) found[name] = *std::move(folder);
  }
  const Lock lock(mutex_);
  forget_missing(found);
  bool pending = false;
  for (const auto& [name, folder] : found) {
    const Status allowed = check_name(name);
    if (!allowed.ok()) {
      if (complained_.insert(name).second) {
        LOG_WARN("a folder in {} is ignored: {}: {}", options_.dir.string(), name, allowed.message());
      }
      continue;
    }
    const auto known = known_.find(name);
    if (shelf_->is_suppressed(name)) {
      if (known != known_.end()) known_.erase(known);
    } else if (known != known_.end() && known->second.stamp == folder.stamp) {
      continue;
    } else if (patience == Patience::kWhenAtRest && !at_rest(name, folder.stamp)) {
      pending = true;
    } else {
      add_job(name, folder);
    }
  }
  seen_ = std::move(found);
  return pending;
}

void Catalog::distrust(const std::string& name) {
  const Lock lock(mutex_);
  const auto known = known_.find(name);
  if (known != known_.end()) known->second.stamp = {};
}

void Catalog::forget_missing(const FoundFolders& found) {
  std::erase_if(jobs_, [&](const auto& job) {
    if (found.contains(job.first)) return false;
    queue_.erase({job.second.bytes, job.first});
    shelf_->expect(job.first, Shelf::Expect::kNoMore);
    return true;  // one under way finds its job gone, and drops what it read
  });
  for (auto known = known_.begin(); known != known_.end();) {
    if (found.contains(known->first)) {
      ++known;
      continue;
    }
    LOG_INFO("adapter {}: its folder is gone", known->first);
    shelf_->remove(known->first);
    known = known_.erase(known);
  }
  jobs_changed_.notify_all();
}

// ---- jobs -----------------------------------------------------------------------------------------------------------

void Catalog::add_job(const std::string& name, const FoundFolder& found) {
  Job& job = jobs_[name];
  if (job.running) return;  // the next look compares again
  queue_.erase({job.bytes, name});
  job = Job{.found = found, .bytes = found.stamp.tensor_bytes()};
  queue_.emplace(job.bytes, name);
  shelf_->expect(name, Shelf::Expect::kSoon);
  jobs_changed_.notify_all();
}

// Nothing when memory ran out: the next look finds the folder still unknown.
std::optional<EntryFacts> Catalog::inspect(const std::string& name, const FoundFolder& found, const std::stop_token& stop) const {
  const MemoryPriority ordinary(MemoryPriority::Level::kOrdinary);  // what a folder asks for is no bookkeeping
  try {
    return inspect_folder(name, found, options_.limits, stop);
  } catch (const std::bad_alloc&) {
    LOG_WARN("adapter {}: there was not enough memory to look at it", name);
    return std::nullopt;
  }
}

// The smallest comes first, so it is the one to look at.
bool Catalog::has_job(Lane lane) const { return !queue_.empty() && in_lane(lane, queue_.begin()->first); }

bool Catalog::inspect_next(Lane lane, const std::stop_token& stop) {
  Lock lock(mutex_);
  if (!has_job(lane) || stop.stop_requested()) return false;
  const std::string name = queue_.extract(queue_.begin()).value().second;
  jobs_[name].running = true;
  const FoundFolder found = jobs_[name].found;
  lock.unlock();
  std::optional<EntryFacts> facts = inspect(name, found, stop);
  lock.lock();
  const auto job = jobs_.find(name);
  if (job != jobs_.end() && job->second.running) {
    jobs_.erase(job);
    if (facts && !stop.stop_requested()) publish(found, *std::move(facts), Shelf::Origin::kFound);
    shelf_->expect(name, Shelf::Expect::kNoMore);
  }
  jobs_changed_.notify_all();
  return true;
}

bool Catalog::wait_job(Lane lane, const std::stop_token& stop) {
  Lock lock(mutex_);
  const bool found = jobs_changed_.wait(lock, stop, [&] { return has_job(lane); });
  return found && !stop.stop_requested();  // a stop leaves the others where they are
}

void Catalog::wait_idle(Duration timeout) {
  Lock lock(mutex_);
  jobs_changed_.wait_for(lock, timeout, [&] { return jobs_.empty(); });
}

void Catalog::publish(const FoundFolder& found, EntryFacts facts, Shelf::Origin origin) {
  const std::string name = facts.id.name;
  const Path& folder = found.place.folder;
  Known now{folder, found.stamp, facts.id.digest, !facts.broken.ok(), folder != options_.dir / name};
  const auto known = known_.find(name);
  const AdapterRef served = shelf_->newest(name);
  const bool same = served && known != known_.end() && !known->second.broken && !now.broken &&
                    known->second.digest == now.digest && known->second.folder == now.folder;
  if (same) {  // touched, or copied again unchanged
    shelf_->forget_failure(served);
    known->second = std::move(now);
    return;
  }
  const std::string trouble = facts.broken.message();
  const std::string kind = facts.kind;
  const AdapterRef put = shelf_->put(std::move(facts), origin);
  if (!put) return;
  known_[name] = std::move(now);
  if (trouble.empty()) {
    LOG_INFO("adapter {}: version {} ({})", name, adapter_id(put).version, kind);
  } else {
    LOG_WARN("adapter {}: version {} cannot be used: {}{}", name, adapter_id(put).version, trouble, shelf_->who_goes_on(put));
  }
}

Result<AdapterRef> Catalog::add(const std::string& name, const std::string& folder, const std::stop_token& stop) {
  RETURN_IF_ERROR(check_name(name));
  ASSIGN_OR_RETURN(const FoundFolder found, find_folder(options_.dir, folder, options_.links_root));
  if (!found.stamp.has(kAdapterConfigName)) return not_found(folder + " holds no adapter_config.json");
  const auto take_served = [&]() -> Result<AdapterRef> {
    AdapterRef served = shelf_->newest(name);
    if (served && served->facts().place.folder != found.place.folder) {
      return Status(Code::kAlreadyExists, "the name \"" + name + "\" stands for another folder already; unload it first");
    }
    const auto known = known_.find(name);
    if (!served || known == known_.end() || known->second.stamp != found.stamp) return AdapterRef();
    shelf_->forget_failure(served);
    return served;
  };
  {
    const Lock lock(mutex_);
    ASSIGN_OR_RETURN(AdapterRef served, take_served());
    if (served) return served;
  }
  EntryFacts facts = inspect_folder(name, found, options_.limits, stop);
  if (stop.stop_requested()) return Status(Code::kUnavailable, "the adapter library is shutting down");
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(AdapterRef served, take_served());  // somebody may have been faster
  if (served) return served;
  publish(found, std::move(facts), Shelf::Origin::kByHand);
  served = shelf_->newest(name);
  if (!served) return Status(Code::kUnavailable, "adapter \"" + name + "\" was unloaded meanwhile");
  return served;
}

}  // namespace umbel
