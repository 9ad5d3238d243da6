// Shelf: the library's memory. Which version each name leads to, which adapters are resident, who pins them, and what
// goes when room is needed. No files, no threads of its own: the library feeds it, so a test can drive it step by step.
//
// Any thread may call any method. One mutex, held briefly: never while a file is read or memory of an adapter is freed
// (dropped adapters and entries wait in lists for the next caller of next_load()).

// A name leads to a lineage (lineage.h). While the served version is in memory a newer one only arrives: it takes the name over when
// finish_load() has put it there.
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
#include "store/lane.h"
#include "store/lineage.h"

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
  // clock outlives the shelf. keep_versions: of each name, beside the one that answers.
  Shelf(size_t budget_bytes, const Clock& clock, int keep_versions = 0)
      : budget_bytes_(budget_bytes), keep_max_(static_cast<size_t>(keep_versions)), clock_(clock) {}
  ~Shelf() = default;

  // What the name's folder holds now. The name leads to it from now on, or, while an older version is in memory, once this one is;
  // facts that say broken never take over from that. facts.id.version is filled in: one more than any version seen under this
  // name. An unloaded name comes back only by hand: kFound then gives null.
  enum class Origin : uint8_t { kFound, kByHand };
  AdapterRef put(EntryFacts facts, Origin origin);
  // A folder of this name was found and is being read: until then resolve() says so instead of kNotFound.
  enum class Expect : uint8_t { kSoon, kNoMore };
  void expect(const std::string& name, Expect expect);
  // What answers, and what was found last; null when the name is not served.
  AdapterRef find(const std::string& name) const;
  AdapterRef newest(const std::string& name) const;
  // "; version 3 goes on answering", for a log line about another version of its name; "" when there is none.
  std::string who_goes_on(const AdapterRef& ref) const;
  // Begins the loads of arriving versions that have room by now. Returns those that wait for room and were not returned before,
  // with the numbers.
  std::vector<Status> start_arrivals();
  // Waits until no arriving version is being loaded, at most so long.
  void wait_arrivals(Duration timeout) const;
  // As AdapterLibrary::rollback().
  Result<AdapterId> rollback(const std::string& name, std::optional<int64_t> version);
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

  // For loading threads: the next adapter of the lane to load; waits. Null after close(). Also frees what was dropped.
  AdapterRef next_load(Lane lane);
  // The same without waiting: null when there is nothing to do.
  AdapterRef poll_load();
  // The outcome of a load that next_load() or poll_load() handed out.
  void finish_load(const AdapterRef& ref, Result<std::shared_ptr<const Adapter>> outcome);
  // Refuses everything from now on and lets all entries go.
  void close();

  std::vector<AdapterInfo> list() const;
  AdapterInfo info(const AdapterRef& ref) const;
  LibraryStats stats() const;
  size_t resident_bytes() const;

 private:
  friend class AdapterEntry;
  class Pin;
  using Lock = std::unique_lock<std::mutex>;
  // A lock after which the entries that were let go die.
  class Turn {
   public:
    explicit Turn(Shelf& shelf) : shelf_(shelf), lock_(shelf.mutex_) {}
    ~Turn() {
      gone_.swap(shelf_.let_go_);
      lock_.unlock();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Shelf& shelf_;
    std::vector<AdapterRef> gone_;
    Lock lock_;
  };

  void forget(AdapterEntry* entry);
  void unpin(AdapterEntry& entry, std::shared_ptr<const Adapter> adapter);
  // All below: with the mutex held.
  AdapterHandle pin_locked(const AdapterRef& ref);
  PinAnswer start_load_locked(const AdapterRef& ref);
  // Whether the version that answers may go though its folder does not hold it any more.
  enum class Reach : uint8_t { kAll, kSpareLast };
  bool make_room_locked(size_t need_bytes, Reach reach);
  Reach reach_of(const AdapterEntry& entry) const;
  bool is_kept_locked(const AdapterEntry& entry) const;
  int tier_locked(const AdapterEntry& entry) const;
  void drop_locked(AdapterEntry& entry);
  void evict_locked(AdapterEntry& entry);
  AdapterRef back_on_disk_locked(const EntryFacts& facts);
  // next takes the name over.
  void lead_locked(Lineage& lineage, AdapterRef next);
  void let_go_locked(AdapterRef ref, AdapterEntry::Standing standing);
  void let_all_go_locked(Lineage lineage, AdapterEntry::Standing standing);
  AdapterRef find_tagged_locked(const std::string& name) const;
  // Of what may not go however much room is needed.
  size_t fixed_bytes_locked(Reach reach) const;
  Status no_room_locked(const AdapterEntry& entry, size_t need_bytes) const;
  AdapterRef take_load_locked(Lane lane);
  AdapterInfo info_locked(const AdapterEntry& entry) const;
  void changed_locked();

  const size_t budget_bytes_, keep_max_;
  const Clock& clock_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;  // states, pins, room
  std::condition_variable work_;  // loads and dropped adapters, for loading threads
  uint64_t changes_ = 0;
  bool closed_ = false;
  std::map<std::string, Lineage> served_;
  std::vector<AdapterRef> let_go_;              // entries die outside the mutex
  std::vector<AdapterRef> draining_;            // unloaded, still pinned
  std::map<std::string, int64_t> versions_;     // last one given out
  std::set<std::string> suppressed_;
  std::set<std::string> expected_;
  std::set<AdapterEntry*> entries_;  // all alive, whatever their standing
  std::deque<AdapterRef> loads_;
  std::vector<std::shared_ptr<const Adapter>> dropped_;
  size_t resident_bytes_ = 0;
  LibraryStats stats_;
  size_t reserved_bytes_ = 0;  // of loads under way
  uint64_t uses_ = 0;
};

}  // namespace umbel
