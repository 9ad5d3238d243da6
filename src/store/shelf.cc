#include "store/shelf.h"

#include <algorithm>

#include "base/printable.h"
#include "store/room.h"

namespace umbel {
namespace {

constexpr size_t kNamesInMessage = 20;
constexpr size_t kReasonBytesMax = 1000;
// What goes after all that can be loaded again: kept versions, then those that answer though their folder holds another.
constexpr int kTierKept = 1, kTierAnswers = 2;

std::string quoted_name(const AdapterEntry& entry) { return "adapter \"" + entry.facts().id.name + "\""; }

size_t saturating_add(size_t a, size_t b) { return a + b < a ? SIZE_MAX : a + b; }

}  // namespace

AdapterEntry::AdapterEntry(std::shared_ptr<Shelf> shelf, EntryFacts facts)
    : shelf_(std::move(shelf)), facts_(std::move(facts)), need_bytes_(facts_.file_bytes) {
  if (facts_.broken.ok()) return;
  state_ = AdapterState::kFailed;
  failure_ = facts_.broken;
}

AdapterEntry::~AdapterEntry() { shelf_->forget(this); }

// What an AdapterHandle holds: one count on the entry, and the entry itself.
class Shelf::Pin {
 public:
  Pin(std::shared_ptr<Shelf> shelf, AdapterRef entry, std::shared_ptr<const Adapter> adapter)
      : shelf_(std::move(shelf)), entry_(std::move(entry)), adapter_(std::move(adapter)) {}
  ~Pin() { shelf_->unpin(*entry_, std::move(adapter_)); }
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;

 private:
  std::shared_ptr<Shelf> shelf_;
  AdapterRef entry_;
  std::shared_ptr<const Adapter> adapter_;
};

// ---- names ----------------------------------------------------------------------------------------------------------

AdapterRef Shelf::put(EntryFacts facts, Origin origin) {
  const Turn turn(*this);
  const std::string name = facts.id.name;
  if (closed_) return nullptr;
  if (origin == Origin::kByHand) suppressed_.erase(name);
  if (suppressed_.contains(name)) return nullptr;
  if (AdapterRef same = back_on_disk_locked(facts)) return same;
  facts.id.version = ++versions_[name];
  AdapterRef entry = std::make_shared<AdapterEntry>(shared_from_this(), std::move(facts));
  entries_.insert(entry.get());
  changed_locked();
  Lineage& lineage = served_[name];
  if (lineage.served == nullptr) {
    lineage.served = entry;
    return entry;
  }
  if (lineage.arriving) let_go_locked(std::exchange(lineage.arriving, nullptr), AdapterEntry::Standing::kReplaced);
  lineage.served->on_disk_ = false;
  for (const AdapterRef& kept : lineage.kept) kept->on_disk_ = false;
  if (lineage.served->adapter_ == nullptr) {  // it can't come back: the newer one is all there is
    lead_locked(lineage, entry);
    return entry;
  }
  entry->standing_ = AdapterEntry::Standing::kArriving;
  lineage.arriving = entry;
  if (entry->state_ == AdapterState::kFailed) {
    ++stats_.update_failures;
  } else {
    (void)start_load_locked(entry);  // without room it waits
  }
  return entry;
}

// The folder holds again what answers: it was changed back before its newer version was there.
AdapterRef Shelf::back_on_disk_locked(const EntryFacts& facts) {
  const auto found = served_.find(facts.id.name);
  if (found == served_.end() || !facts.broken.ok()) return nullptr;
  Lineage& lineage = found->second;
  const AdapterEntry& served = *lineage.served;
  const bool same = served.adapter_ && served.facts_.id.digest == facts.id.digest && served.facts_.place.folder == facts.place.folder;
  if (!same || !lineage.arriving) return nullptr;
  let_go_locked(std::exchange(lineage.arriving, nullptr), AdapterEntry::Standing::kReplaced);
  lineage.served->on_disk_ = true;
  changed_locked();
  return lineage.served;
}

// The one before is kept where it can answer: in memory, or in its folder.
void Shelf::lead_locked(Lineage& lineage, AdapterRef next) {
  const AdapterRef before = lineage.served;
  before->standing_ = AdapterEntry::Standing::kReplaced;
  next->standing_ = AdapterEntry::Standing::kServed;
  if (next->state_ == AdapterState::kKnown) next->failure_ = ok_status();  // it waited for room
  for (AdapterRef& gone : lineage.lead_to(std::move(next), keep_max_)) let_go_.push_back(std::move(gone));
  if (before->adapter_ == nullptr && !before->on_disk_) {
    if (AdapterRef gone = lineage.let_go(before.get())) let_go_.push_back(std::move(gone));
  }
  work_.notify_one();
  changed_locked();
}

void Shelf::let_go_locked(AdapterRef ref, AdapterEntry::Standing standing) {
  ref->standing_ = standing;
  let_go_.push_back(std::move(ref));
  work_.notify_one();
}

void Shelf::let_all_go_locked(Lineage lineage, AdapterEntry::Standing standing) {
  let_go_locked(std::move(lineage.served), standing);
  if (lineage.arriving) let_go_locked(std::move(lineage.arriving), standing);
  for (AdapterRef& ref : lineage.kept) let_go_locked(std::move(ref), standing);
}

Result<AdapterId> Shelf::rollback(const std::string& name, std::optional<int64_t> version) {
  const Turn turn(*this);
  const auto found = served_.find(name);
  if (found == served_.end()) return not_found("there is no adapter \"" + name + "\"");
  Lineage& lineage = found->second;
  const AdapterRef target = lineage.find_kept(version);
  if (target == nullptr) {
    std::string kept;
    for (const AdapterRef& ref : lineage.kept) kept += (kept.empty() ? "" : ", ") + std::to_string(ref->facts_.id.version);
    return failed_precondition(quoted_name(*lineage.served) + " has no kept version" + (version ? " " + std::to_string(*version) : "") +
                               "; it answers with version " + std::to_string(lineage.served->facts_.id.version) + ", kept: " +
                               (kept.empty() ? "none" : kept));
  }
  if (target->adapter_ == nullptr) {
    return failed_precondition(quoted_name(*target) + ": version " + std::to_string(target->facts_.id.version) +
                               " is not in memory; ask for it once as " + name + "@" + std::to_string(target->facts_.id.version));
  }
  lead_locked(lineage, target);
  return target->facts_.id;
}

std::vector<Status> Shelf::start_arrivals() {
  const Lock lock(mutex_);
  std::vector<Status> waiting;
  for (auto& [name, lineage] : served_) {
    const AdapterRef& ref = lineage.arriving;
    if (closed_ || ref == nullptr || ref->state_ != AdapterState::kKnown) continue;
    const PinAnswer answer = start_load_locked(ref);
    const Status& trouble = answer.failure.ok() ? answer.no_room : answer.failure;
    if (answer.wait == PinAnswer::Wait::kLoading || !ref->failure_.ok()) continue;
    ref->failure_ = trouble;  // said once; the state stays kKnown
    waiting.push_back(trouble);
  }
  return waiting;
}

void Shelf::wait_arrivals(Duration timeout) const {
  Lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] {
    return closed_ || std::none_of(served_.begin(), served_.end(), [](const auto& item) {
             return item.second.arriving && item.second.arriving->state_ == AdapterState::kLoading;
           });
  });
}

void Shelf::expect(const std::string& name, Expect expect) {
  const Lock lock(mutex_);
  if (expect == Expect::kSoon) {
    expected_.insert(name);
  } else {
    expected_.erase(name);
  }
  changed_locked();
}

AdapterRef Shelf::find(const std::string& name) const {
  const Lock lock(mutex_);
  const auto found = served_.find(name);
  return found == served_.end() ? nullptr : found->second.served;
}

AdapterRef Shelf::newest(const std::string& name) const {
  const Lock lock(mutex_);
  const auto found = served_.find(name);
  return found == served_.end() ? nullptr : found->second.newest();
}

std::string Shelf::who_goes_on(const AdapterRef& ref) const {
  const AdapterRef served = find(ref->facts_.id.name);
  if (served == nullptr || served == ref) return "";
  return "; version " + std::to_string(served->facts_.id.version) + " goes on answering";
}

void Shelf::remove(const std::string& name) {
  const Turn turn(*this);
  const auto found = served_.find(name);
  if (found == served_.end()) return;
  for (const AdapterRef& kept : found->second.kept) kept->on_disk_ = false;
  found->second.served->on_disk_ = false;
  let_all_go_locked(std::move(found->second), AdapterEntry::Standing::kReplaced);
  served_.erase(found);
  changed_locked();
}

bool Shelf::is_suppressed(const std::string& name) const {
  const Lock lock(mutex_);
  return suppressed_.contains(name);
}

void Shelf::clear_suppressed(const std::string& name) {
  const Lock lock(mutex_);
  suppressed_.erase(name);
}

void Shelf::forget_failure(const AdapterRef& ref) {
  const Lock lock(mutex_);
  if (ref->state_ != AdapterState::kFailed || !ref->facts_.broken.ok()) return;
  ref->state_ = AdapterState::kKnown;
  ref->failure_ = ok_status();
  changed_locked();
}

Result<AdapterRef> Shelf::resolve(const std::string& name) const {
  const Lock lock(mutex_);
  const auto found = served_.find(name);
  if (found != served_.end()) return found->second.served;
  if (AdapterRef tagged = find_tagged_locked(name)) return tagged;
  for (const AdapterRef& entry : draining_) {
    if (entry->facts_.id.name == name) {
      return failed_precondition(quoted_name(*entry) + " is being unloaded");
    }
  }
  if (expected_.contains(name)) {
    return Status(Code::kUnavailable, "adapter \"" + name + "\" is being read for the first time; send the request again");
  }
  std::string known;
  size_t listed = 0;
  for (const auto& [other, lineage] : served_) {
    if (++listed > kNamesInMessage) break;
    known += (known.empty() ? "" : ", ") + other;
  }
  if (served_.size() > kNamesInMessage) known += ", ... (" + std::to_string(served_.size()) + " in all)";
  return not_found("there is no adapter \"" + name + "\"; known: " + (known.empty() ? "none" : known));
}

// "NAME@VERSION", "NAME@DIGEST".
AdapterRef Shelf::find_tagged_locked(const std::string& name) const {
  const size_t at = name.rfind('@');
  if (at == std::string::npos) return nullptr;
  const auto found = served_.find(name.substr(0, at));
  return found == served_.end() ? nullptr : found->second.find(std::string_view(name).substr(at + 1));
}

Status Shelf::unload(const std::string& name) {
  {
    Result<AdapterRef> found = resolve(name);
    if (!found.ok()) return found.status();
  }
  const Turn turn(*this);
  const auto found = served_.find(name);
  if (found == served_.end()) return not_found("there is no adapter \"" + name + "\" any more");
  Lineage lineage = std::move(found->second);
  served_.erase(found);
  suppressed_.insert(name);
  std::vector<AdapterRef> versions = {lineage.served};
  if (lineage.arriving) versions.push_back(lineage.arriving);
  versions.insert(versions.end(), lineage.kept.begin(), lineage.kept.end());
  for (const AdapterRef& ref : versions) {
    if (ref->pins_ > 0) {
      draining_.push_back(ref);
    } else if (ref->adapter_) {
      drop_locked(*ref);
    }
  }
  let_all_go_locked(std::move(lineage), AdapterEntry::Standing::kUnloaded);
  changed_locked();
  return ok_status();
}

// ---- pins -----------------------------------------------------------------------------------------------------------

PinAnswer Shelf::try_pin(const AdapterRef& ref) {
  CHECK(ref && ref->shelf_.get() == this, "an adapter is pinned on the shelf it came from");
  const Lock lock(mutex_);
  if (closed_) return {.failure = Status(Code::kUnavailable, "the adapter library is shutting down")};
  if (ref->standing_ == AdapterEntry::Standing::kUnloaded) {
    return {.failure = failed_precondition(quoted_name(*ref) + " was unloaded")};
  }
  switch (ref->state_) {
    case AdapterState::kResident: return {.handle = pin_locked(ref)};
    case AdapterState::kLoading: return {.wait = PinAnswer::Wait::kLoading};
    case AdapterState::kFailed: return {.failure = ref->failure_.with_context(quoted_name(*ref))};
    case AdapterState::kDraining:
    case AdapterState::kKnown: break;
  }
  if (ref->standing_ == AdapterEntry::Standing::kReplaced && !(ref->on_disk_ && is_kept_locked(*ref))) {
    return {.failure = Status(Code::kUnavailable,
                              quoted_name(*ref) + " was replaced or removed while the request waited; send it again")};
  }
  return start_load_locked(ref);
}

AdapterHandle Shelf::pin_locked(const AdapterRef& ref) {
  ++ref->pins_;
  ref->last_used_ = ++uses_;
  ref->kept_until_ = TimePoint{};
  auto pin = std::make_shared<Pin>(shared_from_this(), ref, ref->adapter_);
  // The handle's adapter shares the pin's life, so that the last of the two gives the adapter back.
  std::shared_ptr<const Adapter> adapter(pin, ref->adapter_.get());
  return AdapterHandle(std::move(adapter), std::move(pin));
}

void Shelf::unpin(AdapterEntry& entry, std::shared_ptr<const Adapter> adapter) {
  const Lock lock(mutex_);
  entry.last_used_ = ++uses_;
  if (--entry.pins_ > 0) return;
  if (entry.standing_ == AdapterEntry::Standing::kUnloaded) {
    if (entry.adapter_) drop_locked(entry);
    std::erase_if(draining_, [&](const AdapterRef& other) { return other.get() == &entry; });  // the pin has it too
    dropped_.push_back(std::move(adapter));  // so that not this thread, but a loading thread frees it
  }
  changed_locked();
}

PinAnswer Shelf::start_load_locked(const AdapterRef& ref) {
  const bool exact = ref->need_exact_;
  const size_t build_bytes = ref->facts_.build_bytes;
  // What it is and what making it takes for the moment; a guess of the first from the file's size may be too large (f32 in the
  // file, bf16 in memory), so it never rules an adapter out.
  const size_t least_bytes = saturating_add(exact ? ref->need_bytes_ : 0, build_bytes);
  if (least_bytes > budget_bytes_) {
    return {.failure = Status(Code::kOutOfMemory,
                              quoted_name(*ref) + " needs " + std::to_string(least_bytes) + " bytes" +
                                  (build_bytes > 0 ? ", " + std::to_string(build_bytes) + " of them while it is loaded" : "") +
                                  "; the budget for adapters is " + std::to_string(budget_bytes_))};
  }
  const size_t need_bytes = std::min(saturating_add(ref->need_bytes_, build_bytes), budget_bytes_);
  if (!make_room_locked(need_bytes, reach_of(*ref))) {
    return {.wait = PinAnswer::Wait::kRoom,
            .no_room = no_room_locked(*ref, need_bytes),
            .held_by_pins = saturating_add(fixed_bytes_locked(reach_of(*ref)), need_bytes) > budget_bytes_};
  }
  ref->state_ = AdapterState::kLoading;
  ref->failure_ = ok_status();
  ref->reserved_bytes_ = need_bytes;
  reserved_bytes_ += need_bytes;
  loads_.push_back(ref);
  work_.notify_all();  // not every thread takes every load
  return {.wait = PinAnswer::Wait::kLoading};
}

// What only arrives must not push out what answers meanwhile.
Shelf::Reach Shelf::reach_of(const AdapterEntry& entry) const {
  return entry.standing_ == AdapterEntry::Standing::kArriving ? Reach::kSpareLast : Reach::kAll;
}

bool Shelf::is_kept_locked(const AdapterEntry& entry) const {
  const auto found = served_.find(entry.facts_.id.name);
  return found != served_.end() && found->second.keeps(&entry);
}

int Shelf::tier_locked(const AdapterEntry& entry) const {
  if (entry.on_disk_) return 0;
  if (entry.standing_ == AdapterEntry::Standing::kServed) return kTierAnswers;
  return is_kept_locked(entry) ? kTierKept : 0;
}

bool Shelf::make_room_locked(size_t need_bytes, Reach reach) {
  std::vector<RoomItem> items;
  std::vector<AdapterEntry*> owners;
  const TimePoint now = clock_.now();
  for (AdapterEntry* entry : entries_) {
    if (!entry->adapter_) continue;
    const int tier = tier_locked(*entry);
    const bool fixed = entry->pins_ > 0 || now < entry->kept_until_ || (tier == kTierAnswers && reach == Reach::kSpareLast);
    items.push_back({.last_used = entry->last_used_, .bytes = entry->adapter_->bytes(), .fixed = fixed, .tier = tier});
    owners.push_back(entry);
  }
  const RoomPlan plan = plan_room(items, {budget_bytes_, reserved_bytes_, need_bytes});
  for (size_t index : plan.evict) evict_locked(*owners[index]);
  stats_.evictions += static_cast<int64_t>(plan.evict.size());
  return plan.fits;
}

// What can't be loaded again is not kept any more, and gives the name to what its folder holds.
void Shelf::evict_locked(AdapterEntry& entry) {
  drop_locked(entry);
  const auto found = served_.find(entry.facts_.id.name);
  if (entry.on_disk_ || found == served_.end()) return;
  Lineage& lineage = found->second;
  if (lineage.served.get() != &entry) {
    if (AdapterRef gone = lineage.let_go(&entry)) let_go_.push_back(std::move(gone));
    return;
  }
  const auto on_disk = std::find_if(lineage.kept.begin(), lineage.kept.end(), [](const AdapterRef& ref) { return ref->on_disk_; });
  if (lineage.arriving) {
    lead_locked(lineage, lineage.arriving);
  } else if (on_disk != lineage.kept.end()) {
    lead_locked(lineage, AdapterRef(*on_disk));
  }
}

void Shelf::drop_locked(AdapterEntry& entry) {
  resident_bytes_ -= entry.adapter_->bytes();
  dropped_.push_back(std::move(entry.adapter_));
  entry.adapter_ = nullptr;
  entry.state_ = AdapterState::kKnown;
  work_.notify_one();
}

size_t Shelf::fixed_bytes_locked(Reach reach) const {
  size_t bytes = 0;
  for (const AdapterEntry* entry : entries_) {
    const bool fixed = entry->pins_ > 0 || (reach == Reach::kSpareLast && tier_locked(*entry) == kTierAnswers);
    bytes += fixed && entry->adapter_ ? entry->adapter_->bytes() : 0;
  }
  return bytes;
}

Status Shelf::no_room_locked(const AdapterEntry& entry, size_t need_bytes) const {
  const Reach reach = reach_of(entry);
  return {Code::kOutOfMemory, quoted_name(entry) + " needs " + std::to_string(need_bytes) + " bytes, but of the budget of " +
                                  std::to_string(budget_bytes_) + " bytes " + std::to_string(fixed_bytes_locked(reach)) +
                                  (reach == Reach::kAll ? " are in use by running requests and "
                                                        : " are in use by running requests and versions that answer until newer ones are loaded, and ") + std::to_string(reserved_bytes_) +
                                  " promised to adapters being loaded"};
}

uint64_t Shelf::changes() const {
  const Lock lock(mutex_);
  return changes_;
}

void Shelf::wait_change(uint64_t seen, Duration timeout) const {
  Lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return changes_ != seen || closed_; });
}

void Shelf::changed_locked() {
  ++changes_;
  changed_.notify_all();
}

// ---- loads ----------------------------------------------------------------------------------------------------------

AdapterRef Shelf::take_load_locked(Lane lane) {
  const auto next = std::find_if(loads_.begin(), loads_.end(),
                                 [&](const AdapterRef& ref) { return in_lane(lane, ref->facts_.file_bytes); });
  if (next == loads_.end()) return nullptr;
  AdapterRef ref = std::move(*next);
  loads_.erase(next);
  ref->load_begun_ = clock_.now();
  return ref;
}

AdapterRef Shelf::next_load(Lane lane) {
  Lock lock(mutex_);
  while (true) {
    if (!dropped_.empty() || !let_go_.empty()) {
      std::vector<std::shared_ptr<const Adapter>> dropped = std::exchange(dropped_, {});
      std::vector<AdapterRef> let_go = std::exchange(let_go_, {});
      lock.unlock();
      let_go.clear();  // their destructors take the lock, and may drop more
      dropped.clear();
      lock.lock();
      continue;
    }
    if (closed_) return nullptr;
    if (AdapterRef ref = take_load_locked(lane)) return ref;
    work_.wait(lock);
  }
}

AdapterRef Shelf::poll_load() {
  std::vector<std::shared_ptr<const Adapter>> dropped;  // these die after the lock
  std::vector<AdapterRef> let_go;
  const Lock lock(mutex_);
  dropped.swap(dropped_);
  let_go.swap(let_go_);
  return closed_ ? nullptr : take_load_locked(Lane::kAny);
}

void Shelf::finish_load(const AdapterRef& ref, Result<std::shared_ptr<const Adapter>> outcome) {
  std::shared_ptr<const Adapter> unused;  // dies after the lock
  const Turn turn(*this);
  CHECK(ref->state_ == AdapterState::kLoading, "a load ends once");
  reserved_bytes_ -= std::exchange(ref->reserved_bytes_, 0);
  stats_.load_time += clock_.now() - ref->load_begun_;
  changed_locked();
  if (!outcome.ok()) {
    ++stats_.failures;
    if (ref->standing_ == AdapterEntry::Standing::kArriving) ++stats_.update_failures;
    ref->state_ = AdapterState::kFailed;
    ref->failure_ = Status(outcome.status().code(), printable(outcome.status().message(), kReasonBytesMax));
    return;
  }
  std::shared_ptr<const Adapter> adapter = *std::move(outcome);
  ref->state_ = AdapterState::kKnown;
  ref->need_bytes_ = adapter->bytes();
  ref->need_exact_ = true;
  const bool wanted = !closed_ && ref->standing_ != AdapterEntry::Standing::kUnloaded;
  if (!wanted || !make_room_locked(ref->need_bytes_, reach_of(*ref))) {
    unused = std::move(adapter);
    return;
  }
  resident_bytes_ += adapter->bytes();
  ++stats_.loads;
  ref->adapter_ = std::move(adapter);
  ref->state_ = AdapterState::kResident;
  ref->last_used_ = ++uses_;
  ref->kept_until_ = clock_.now() + kFreshAdapterGrace;
  if (ref->standing_ != AdapterEntry::Standing::kArriving) return;
  ref->failure_ = ok_status();
  ref->kept_until_ = TimePoint{};  // nobody has asked for it yet
  ++stats_.updates;
  lead_locked(served_.at(ref->facts_.id.name), ref);
}

void Shelf::forget(AdapterEntry* entry) {
  const Lock lock(mutex_);
  if (entry->adapter_) drop_locked(*entry);
  entries_.erase(entry);
  changed_locked();
}

void Shelf::close() {
  std::map<std::string, Lineage> served;  // these die after the lock
  std::vector<AdapterRef> let_go;
  std::vector<AdapterRef> draining;
  std::deque<AdapterRef> loads;
  const Lock lock(mutex_);
  closed_ = true;
  served.swap(served_);
  let_go.swap(let_go_);
  draining.swap(draining_);
  loads.swap(loads_);
  work_.notify_all();
  changed_locked();
}

// ---- what is there --------------------------------------------------------------------------------------------------

AdapterInfo Shelf::info_locked(const AdapterEntry& entry) const {
  const EntryFacts& facts = entry.facts_;
  AdapterInfo info{.id = facts.id, .state = entry.state_, .kind = facts.kind, .rank_max = facts.rank_max};
  if (entry.standing_ == AdapterEntry::Standing::kUnloaded) info.state = AdapterState::kDraining;
  info.bytes = entry.adapter_ ? entry.adapter_->bytes() : 0;
  info.pins = entry.pins_;
  info.error = entry.failure_.message();
  info.chat_template_dir = facts.chat_template_dir;
  info.place = facts.place;
  const auto found = served_.find(facts.id.name);
  if (found == served_.end() || found->second.served.get() != &entry) return info;
  for (const AdapterRef& kept : found->second.kept) info.kept.push_back(kept->facts_.id);
  if (const AdapterRef& next = found->second.arriving) info.update = {next->facts_.id, next->failure_.message()};
  return info;
}

std::vector<AdapterInfo> Shelf::list() const {
  const Lock lock(mutex_);
  std::vector<AdapterInfo> infos;
  for (const auto& [name, lineage] : served_) infos.push_back(info_locked(*lineage.served));
  for (const AdapterRef& entry : draining_) infos.push_back(info_locked(*entry));
  return infos;
}

AdapterInfo Shelf::info(const AdapterRef& ref) const {
  const Lock lock(mutex_);
  return info_locked(*ref);
}

LibraryStats Shelf::stats() const {
  const Lock lock(mutex_);
  LibraryStats stats = stats_;
  stats.updates_waiting = std::count_if(served_.begin(), served_.end(), [](const auto& item) { return item.second.arriving != nullptr; });
  return stats;
}

size_t Shelf::resident_bytes() const {
  const Lock lock(mutex_);
  return resident_bytes_;
}

}  // namespace umbel
