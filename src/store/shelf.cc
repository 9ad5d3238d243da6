#include "store/shelf.h"

#include <algorithm>

#include "store/room.h"

namespace umbel {
namespace {

constexpr size_t kNamesInMessage = 20;

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
  AdapterRef replaced;  // dies after the lock
  const Lock lock(mutex_);
  const std::string name = facts.id.name;
  if (closed_) return nullptr;
  if (origin == Origin::kByHand) suppressed_.erase(name);
  if (suppressed_.contains(name)) return nullptr;
  facts.id.version = ++versions_[name];
  AdapterRef entry = std::make_shared<AdapterEntry>(shared_from_this(), std::move(facts));
  entries_.insert(entry.get());
  replaced = std::exchange(served_[name], entry);
  if (replaced) replaced->standing_ = AdapterEntry::Standing::kReplaced;
  changed_locked();
  return entry;
}

AdapterRef Shelf::find(const std::string& name) const {
  const Lock lock(mutex_);
  const auto found = served_.find(name);
  return found == served_.end() ? nullptr : found->second;
}

void Shelf::remove(const std::string& name) {
  AdapterRef removed;  // dies after the lock
  const Lock lock(mutex_);
  const auto found = served_.find(name);
  if (found == served_.end()) return;
  removed = std::move(found->second);
  removed->standing_ = AdapterEntry::Standing::kReplaced;
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
  if (found != served_.end()) return found->second;
  for (const AdapterRef& entry : draining_) {
    if (entry->facts_.id.name == name) {
      return failed_precondition(quoted_name(*entry) + " is being unloaded");
    }
  }
  std::string known;
  size_t listed = 0;
  for (const auto& [other, entry] : served_) {
    if (++listed > kNamesInMessage) break;
    known += (known.empty() ? "" : ", ") + other;
  }
  if (served_.size() > kNamesInMessage) known += ", ... (" + std::to_string(served_.size()) + " in all)";
  return not_found("there is no adapter \"" + name + "\"; known: " + (known.empty() ? "none" : known));
}

Status Shelf::unload(const std::string& name) {
  AdapterRef unloaded;  // dies after the lock
  {
    Result<AdapterRef> found = resolve(name);
    if (!found.ok()) return found.status();
  }
  const Lock lock(mutex_);
  const auto found = served_.find(name);
  if (found == served_.end()) return not_found("there is no adapter \"" + name + "\" any more");
  unloaded = std::move(found->second);
  served_.erase(found);
  suppressed_.insert(name);
  unloaded->standing_ = AdapterEntry::Standing::kUnloaded;
  if (unloaded->pins_ > 0) {
    draining_.push_back(unloaded);
  } else if (unloaded->adapter_) {
    drop_locked(*unloaded);
  }
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
  if (ref->standing_ == AdapterEntry::Standing::kReplaced) {
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
  if (exact && ref->need_bytes_ > budget_bytes_) {
    return {.failure = Status(Code::kOutOfMemory, quoted_name(*ref) + " needs " + std::to_string(ref->need_bytes_) +
                                                      " bytes; the budget for adapters is " +
                                                      std::to_string(budget_bytes_))};
  }
  // A guess from the file's size may be too large (f32 in the file, bf16 in memory): it never rules an adapter out.
  const size_t need_bytes = exact ? ref->need_bytes_ : std::min(ref->need_bytes_, budget_bytes_);
  if (!make_room_locked(need_bytes)) {
    return {.wait = PinAnswer::Wait::kRoom,
            .no_room = no_room_locked(*ref, need_bytes),
            .held_by_pins = saturating_add(pinned_bytes_locked(), need_bytes) > budget_bytes_};
  }
  ref->state_ = AdapterState::kLoading;
  ref->reserved_bytes_ = need_bytes;
  reserved_bytes_ += need_bytes;
  loads_.push_back(ref);
  work_.notify_one();
  return {.wait = PinAnswer::Wait::kLoading};
}

bool Shelf::make_room_locked(size_t need_bytes) {
  std::vector<RoomItem> items;
  std::vector<AdapterEntry*> owners;
  const TimePoint now = clock_.now();
  for (AdapterEntry* entry : entries_) {
    if (!entry->adapter_) continue;
    const bool fixed = entry->pins_ > 0 || now < entry->kept_until_;
    items.push_back({entry->last_used_, entry->adapter_->bytes(), fixed});
    owners.push_back(entry);
  }
  const RoomPlan plan = plan_room(items, {budget_bytes_, reserved_bytes_, need_bytes});
  for (size_t index : plan.evict) drop_locked(*owners[index]);
  return plan.fits;
}

void Shelf::drop_locked(AdapterEntry& entry) {
  resident_bytes_ -= entry.adapter_->bytes();
  dropped_.push_back(std::move(entry.adapter_));
  entry.adapter_ = nullptr;
  entry.state_ = AdapterState::kKnown;
  work_.notify_one();
}

size_t Shelf::pinned_bytes_locked() const {
  size_t bytes = 0;
  for (const AdapterEntry* entry : entries_) bytes += entry->pins_ > 0 && entry->adapter_ ? entry->adapter_->bytes() : 0;
  return bytes;
}

Status Shelf::no_room_locked(const AdapterEntry& entry, size_t need_bytes) const {
  return {Code::kOutOfMemory, quoted_name(entry) + " needs " + std::to_string(need_bytes) + " bytes, but of the budget of " +
                                  std::to_string(budget_bytes_) + " bytes " + std::to_string(pinned_bytes_locked()) +
                                  " are in use by running requests and " + std::to_string(reserved_bytes_) +
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

AdapterRef Shelf::take_load_locked() {
  AdapterRef ref = std::move(loads_.front());
  loads_.pop_front();
  return ref;
}

AdapterRef Shelf::next_load() {
  Lock lock(mutex_);
  while (true) {
    if (!dropped_.empty()) {
      std::vector<std::shared_ptr<const Adapter>> dropped = std::exchange(dropped_, {});
      lock.unlock();
      dropped.clear();
      lock.lock();
      continue;
    }
    if (closed_) return nullptr;
    if (!loads_.empty()) return take_load_locked();
    work_.wait(lock);
  }
}

AdapterRef Shelf::poll_load() {
  std::vector<std::shared_ptr<const Adapter>> dropped;  // dies after the lock
  const Lock lock(mutex_);
  dropped.swap(dropped_);
  if (closed_ || loads_.empty()) return nullptr;
  return take_load_locked();
}

void Shelf::finish_load(const AdapterRef& ref, Result<std::shared_ptr<const Adapter>> outcome) {
  std::shared_ptr<const Adapter> unused;  // dies after the lock
  const Lock lock(mutex_);
  CHECK(ref->state_ == AdapterState::kLoading, "a load ends once");
  reserved_bytes_ -= std::exchange(ref->reserved_bytes_, 0);
  changed_locked();
  if (!outcome.ok()) {
    ref->state_ = AdapterState::kFailed;
    ref->failure_ = outcome.status();
    return;
  }
  std::shared_ptr<const Adapter> adapter = *std::move(outcome);
  ref->state_ = AdapterState::kKnown;
  ref->need_bytes_ = adapter->bytes();
  ref->need_exact_ = true;
  const bool wanted = !closed_ && ref->standing_ != AdapterEntry::Standing::kUnloaded;
  if (!wanted || !make_room_locked(ref->need_bytes_)) {
    unused = std::move(adapter);
    return;
  }
  resident_bytes_ += adapter->bytes();
  ref->adapter_ = std::move(adapter);
  ref->state_ = AdapterState::kResident;
  ref->last_used_ = ++uses_;
  ref->kept_until_ = clock_.now() + kFreshAdapterGrace;
}

void Shelf::forget(AdapterEntry* entry) {
  const Lock lock(mutex_);
  if (entry->adapter_) drop_locked(*entry);
  entries_.erase(entry);
  changed_locked();
}

void Shelf::close() {
  std::map<std::string, AdapterRef> served;  // these die after the lock
  std::vector<AdapterRef> draining;
  std::deque<AdapterRef> loads;
  const Lock lock(mutex_);
  closed_ = true;
  served.swap(served_);
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
  return info;
}

std::vector<AdapterInfo> Shelf::list() const {
  const Lock lock(mutex_);
  std::vector<AdapterInfo> infos;
  for (const auto& [name, entry] : served_) infos.push_back(info_locked(*entry));
  for (const AdapterRef& entry : draining_) infos.push_back(info_locked(*entry));
  return infos;
}

size_t Shelf::resident_bytes() const {
  const Lock lock(mutex_);
  return resident_bytes_;
}

}  // namespace umbel
