// Shelf: the library's memory. Which version each name leads to, which adapters are resident, who pins them, and what
// goes when room is needed. No files, no threads of its own: the library feeds it, so a test can drive it step by step.
//
// Any thread may call any method. One mutex, held briefly: never while a file is read or memory of an adapter is freed
// (dropped adapters wait in a list for the next caller of next_load()).
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/entry.h"

namespace umbel {

// A freshly loaded adapter stays at least this long for the one who asked for it, or until its first pin; otherwise two
// that fit only one at a time could push each other out for ever.
inline constexpr Duration kFreshAdapterGrace = std::chrono::seconds(2);

// try_pin's answer: exactly one of handle, failure (not ok), or a wait.
struct PinAnswer {
  enum class Wait : uint8_t { kNone, kLoading, kRoom };
  std::optional<AdapterHandle> handle;
  Status failure;
  Wait wait = Wait::kNone;
  Status no_room;         // wait == kRoom: the numbers, for a caller who does not want to wait
  bool held_by_pins = false;  // wait == kRoom: only pins and loads under way stand in the way, not fresh ones
};

class Shelf : public std::enable_shared_from_this<Shelf> {
 public:
  // clock outlives the shelf.
  Shelf(size_t budget_bytes, const Clock& clock) : budget_bytes_(budget_bytes), clock_(clock) {}
  ~Shelf() = default;

  // The name leads to this version from now on; an older one is replaced. facts.id.version is filled in: one more than
  // any version seen under this name. An unloaded name comes back only by hand: kFound then gives null.
  enum class Origin : uint8_t { kFound, kByHand };
  AdapterRef put(EntryFacts facts, Origin origin);
  // Null when the name is not served.
  AdapterRef find(const std::string& name) const;
  // The folder is gone: the name is no longer served; those who hold the adapter go on while it stays in memory.
  void remove(const std::string& name);
  // Unloaded, and not put back by hand since.
  bool is_suppressed(const std::string& name) const;
  void clear_suppressed(const std::string& name);
  // A failed load may be tried again.
  void forget_failure(const AdapterRef& ref);

  Result<AdapterRef> resolve(const std::string& name) const;
  Status unload(const std::string& name);
  // Never waits. Starts a load (once) when the adapter is not resident and there is room for it. REQUIRES ref.
  PinAnswer try_pin(const AdapterRef& ref);
  // changes() counts changes of states, pins and room; wait_change() waits until it differs from what the caller has
  // seen, at most the timeout.
  uint64_t changes() const;
  void wait_change(uint64_t seen, Duration timeout) const;

  // For loading threads: the next adapter to load; waits. Null after close(). Also frees what was dropped.
  AdapterRef next_load();
  // The same without waiting: null when there is nothing to do.
  AdapterRef poll_load();
  // The outcome of a load that next_load() or poll_load() handed out.
  void finish_load(const AdapterRef& ref, Result<std::shared_ptr<const Adapter>> outcome);
  // Refuses everything from now on and lets all entries go.
  void close();

  std::vector<AdapterInfo> list() const;
  size_t resident_bytes() const;

 private:
  friend class AdapterEntry;
  class Pin;
  using Lock = std::unique_lock<std::mutex>;

  void forget(AdapterEntry* entry);
  void unpin(AdapterEntry& entry, std::shared_ptr<const Adapter> adapter);
  // All below: with the mutex held.
  AdapterHandle pin_locked(const AdapterRef& ref);
  PinAnswer start_load_locked(const AdapterRef& ref);
  bool make_room_locked(size_t need_bytes);
  void drop_locked(AdapterEntry& entry);
  size_t pinned_bytes_locked() const;
  Status no_room_locked(const AdapterEntry& entry, size_t need_bytes) const;
  AdapterRef take_load_locked();
  AdapterInfo info_locked(const AdapterEntry& entry) const;
  void changed_locked();

  const size_t budget_bytes_;
  const Clock& clock_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;  // states, pins, room
  std::condition_variable work_;  // loads and dropped adapters, for loading threads
  uint64_t changes_ = 0;
  bool closed_ = false;
  std::map<std::string, AdapterRef> served_;
  std::vector<AdapterRef> draining_;            // unloaded, still pinned
  std::map<std::string, int64_t> versions_;     // last one given out
  std::set<std::string> suppressed_;
  std::set<AdapterEntry*> entries_;  // all alive, whatever their standing
  std::deque<AdapterRef> loads_;
  std::vector<std::shared_ptr<const Adapter>> dropped_;
  size_t resident_bytes_ = 0;
  size_t reserved_bytes_ = 0;  // of loads under way
  uint64_t uses_ = 0;
};

}  // namespace umbel
