// Catalog: what the adapters folder holds, as last seen; turns changes on disk into new versions on the shelf.
//
// A look only asks the file system for names, sizes and times. What changed becomes a job, and whoever calls inspect_next() reads
// and hashes it, without any lock: small folders before large ones, several at once. Any thread may call any method; one look at
// a time (a second waits).
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "store/folder.h"
#include "store/inspection.h"
#include "store/lane.h"
#include "store/shelf.h"

namespace umbel {

// A folder whose files changed within this time may still be being written.
inline constexpr Duration kFolderRestTime = std::chrono::milliseconds(200);

struct CatalogOptions {
  Path dir;
  std::vector<std::string> only;  // the sub-folders that are looked at; empty = all
  Path links_root;  // "" = links in adapters' folders are not followed
  std::vector<std::string> reserved_names;
  InspectionLimits limits;
};

class Catalog {
 public:
  Catalog(CatalogOptions options, std::shared_ptr<Shelf> shelf);

  // kNow takes every folder as it is; kWhenAtRest leaves those alone that are being written. True: there were some, look
  // again soon.
  enum class Patience : uint8_t { kNow, kWhenAtRest };
  Result<bool> look(Patience patience);

  // Does the smallest job of the lane; false when there is none.
  bool inspect_next(Lane lane, const std::stop_token& stop);
  // Waits for a job of the lane; false when a stop was asked for.
  bool wait_job(Lane lane, const std::stop_token& stop);
  // Waits until no job is left or under way, at most so long.
  void wait_idle(Duration timeout);

  // What was noted about this name's folder turned out wrong: the next look reads it again.
  void distrust(const std::string& name);

  // Puts dir/folder on the shelf under this name. The checks are those of AdapterLibrary::load. Reads and hashes in the
  // caller's thread.
  Result<AdapterRef> add(const std::string& name, const std::string& folder, const std::stop_token& stop);

 private:
  struct Known {
    Path folder;
    FolderStamp stamp;
    std::string digest;
    bool broken = false;   // its facts say so: any change is worth a new try
    bool by_hand = false;  // named by add(): it is not what a look at dir finds under this name
  };
  struct Job {
    FoundFolder found;
    size_t bytes = 0;
    bool running = false;
  };
  using Lock = std::unique_lock<std::mutex>;

  std::optional<EntryFacts> inspect(const std::string& name, const FoundFolder& found, const std::stop_token& stop) const;
  Status check_name(const std::string& name) const;
  bool at_rest(const std::string& name, const FolderStamp& stamp) const;
  // With the mutex held, all below.
  void add_job(const std::string& name, const FoundFolder& found);
  bool has_job(Lane lane) const;
  void publish(const FoundFolder& found, EntryFacts facts, Shelf::Origin origin);
  void forget_missing(const FoundFolders& found);

  const CatalogOptions options_;
  const std::shared_ptr<Shelf> shelf_;

  std::mutex look_mutex_;  // one look at a time; taken before mutex_
  FoundFolders seen_;      // at the last look; with look_mutex_ held
  std::mutex mutex_;       // never held over a file
  std::condition_variable_any jobs_changed_;
  std::map<std::string, Job> jobs_;
  std::set<std::pair<size_t, std::string>> queue_;  // bytes and names of those that are not running
  std::map<std::string, Known> known_;
  std::set<std::string> complained_;         // names that were logged as not allowed
};

}  // namespace umbel
