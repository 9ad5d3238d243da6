#include "store/catalog.h"

#include <algorithm>
#include <chrono>

#include "adapters/registry.h"
#include "base/log.h"
#include "store/digest.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// One spelling for one folder, without touching links (a deployment may switch one).
Path absolute_folder(const Path& dir) {
  std::error_code error;
  const Path absolute = std::filesystem::absolute(dir, error);
  const Path normal = (error ? dir : absolute).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

// Fills kind and rank from the configuration; the Status is what makes the folder unusable.
Status read_facts(const FoundFolder& found, EntryFacts* facts) {
  RETURN_IF_ERROR(found.status);
  ASSIGN_OR_RETURN(facts->id.digest, digest_files(adapter_files(found.path)));
  ASSIGN_OR_RETURN(const AdapterSpec spec, PeftDir::read_spec(found.path));
  facts->kind = kind_name(spec.peft_type);
  facts->rank_max = static_cast<int32_t>(std::min<int64_t>(spec.rank_max(), INT32_MAX));
  if (facts->kind.empty()) return unsupported("peft_type \"" + spec.peft_type + "\" is not computed here");
  if (found.stamp.has(kAdapterTensorsName)) return ok_status();
  const Result<PeftDir> read = PeftDir::read(found.path);  // says what is missing, and the remedy
  return read.ok() ? ok_status() : read.status();
}

}  // namespace

EntryFacts inspect_folder(const std::string& name, const FoundFolder& found) {
  EntryFacts facts;
  facts.id.name = name;
  facts.folder = found.path;
  facts.file_bytes = found.stamp.tensor_bytes();
  facts.broken = read_facts(found, &facts);
  if (found.stamp.has(kAdapterTemplateName)) facts.chat_template_dir = found.path.string();
  return facts;
}

Catalog::Catalog(const Path& dir, std::vector<std::string> reserved_names, std::shared_ptr<Shelf> shelf)
    : dir_(absolute_folder(dir)), reserved_(std::move(reserved_names)), shelf_(std::move(shelf)) {}

Status Catalog::check_name(const std::string& name) const {
  RETURN_IF_ERROR(check_adapter_name(name));
  if (std::find(reserved_.begin(), reserved_.end(), name) == reserved_.end()) return ok_status();
  return invalid_argument("the name \"" + name + "\" is taken by the base model");
}

bool Catalog::at_rest(const std::string& name, const FolderStamp& stamp) const {
  if (wall_clock_ns() - stamp.newest_ns() > kFolderRestTime.count()) return true;
  // A file server's clock may be ahead of ours: what did not change between two looks is at rest too.
  const auto seen = seen_.find(name);
  return seen != seen_.end() && seen->second == stamp;
}

Result<bool> Catalog::look(Patience patience) {
  const std::lock_guard lock(mutex_);
  using Folders = std::map<std::string, FoundFolder>;
  ASSIGN_OR_RETURN(Folders found, scan_folders(dir_));
  for (const auto& [name, known] : known_) {
    if (!known.by_hand) continue;
    FoundFolder folder{.path = known.folder, .stamp = stamp_folder(known.folder)};
    if (folder.stamp.has(kAdapterConfigName)) found[name] = std::move(folder);
  }
  forget_missing(found);
  bool pending = false;
  for (const auto& [name, folder] : found) {
    const Status allowed = check_name(name);
    if (!allowed.ok()) {
      if (complained_.insert(name).second) LOG_WARN("a folder in {} is ignored: {}", dir_.string(), allowed.message());
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
      update(name, folder, Shelf::Origin::kFound);
    }
  }
  seen_.clear();
  for (auto& [name, folder] : found) seen_.emplace(name, std::move(folder.stamp));
  return pending;
}

void Catalog::distrust(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(name);
  if (known != known_.end()) known->second.stamp = {};
}

void Catalog::forget_missing(const std::map<std::string, FoundFolder>& found) {
  for (auto known = known_.begin(); known != known_.end();) {
    if (found.contains(known->first)) {
      ++known;
      continue;
    }
    LOG_INFO("adapter {}: its folder is gone", known->first);
    shelf_->remove(known->first);
    known = known_.erase(known);
  }
}

void Catalog::update(const std::string& name, const FoundFolder& found, Shelf::Origin origin) {
  EntryFacts facts = inspect_folder(name, found);
  Known now{found.path, found.stamp, facts.id.digest, !facts.broken.ok(), found.path != dir_ / name};
  const auto known = known_.find(name);
  const AdapterRef served = shelf_->find(name);
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
    LOG_WARN("adapter {}: version {} cannot be used: {}", name, adapter_id(put).version, trouble);
  }
}

Result<AdapterRef> Catalog::add(const std::string& name, const std::string& folder) {
  RETURN_IF_ERROR(check_name(name));
  ASSIGN_OR_RETURN(const Path path, resolve_inside(dir_, folder));
  const std::lock_guard lock(mutex_);
  const FoundFolder found{.path = path, .stamp = stamp_folder(path)};
  if (!found.stamp.has(kAdapterConfigName)) return not_found(folder + " holds no adapter_config.json");
  AdapterRef served = shelf_->find(name);
  if (served && served->facts().folder != path) {
    return Status(Code::kAlreadyExists, "the name \"" + name + "\" stands for another folder already; unload it first");
  }
  const auto known = known_.find(name);
  if (served && known != known_.end() && known->second.stamp == found.stamp) {
    shelf_->forget_failure(served);
    return served;
  }
  update(name, found, Shelf::Origin::kByHand);
  served = shelf_->find(name);
  if (!served) return Status(Code::kUnavailable, "adapter \"" + name + "\" was unloaded meanwhile");
  return served;
}

}  // namespace umbel
