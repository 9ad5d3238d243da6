// Catalog: what the adapters folder holds, as last seen; turns changes on disk into new versions on the shelf.
//
// Any thread; one look at a time (a second waits). Reads and hashes files, so never call it where nothing may stall.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "store/folder.h"
#include "store/shelf.h"

namespace umbel {

// A folder whose files changed within this time may still be being written.
inline constexpr Duration kFolderRestTime = std::chrono::milliseconds(200);

class Catalog {
 public:
  Catalog(const Path& dir, std::vector<std::string> reserved_names, std::shared_ptr<Shelf> shelf);

  // kNow takes every folder as it is; kWhenAtRest leaves those alone that are being written. True: there were some, look
  // again soon.
  enum class Patience : uint8_t { kNow, kWhenAtRest };
  Result<bool> look(Patience patience);

  // What was noted about this name's folder turned out wrong: the next look reads it again.
  void distrust(const std::string& name);

  // Puts dir/folder on the shelf under this name. The checks are those of AdapterLibrary::load.
  Result<AdapterRef> add(const std::string& name, const std::string& folder);

 private:
  struct Known {
    Path folder;
    FolderStamp stamp;
    std::string digest;
    bool broken = false;   // its facts say so: any change is worth a new try
    bool by_hand = false;  // named by add(): it is not what a look at dir finds under this name
  };

  Status check_name(const std::string& name) const;
  bool at_rest(const std::string& name, const FolderStamp& stamp) const;
  void update(const std::string& name, const FoundFolder& found, Shelf::Origin origin);
  void forget_missing(const std::map<std::string, FoundFolder>& found);

  const Path dir_;
  const std::vector<std::string> reserved_;
  const std::shared_ptr<Shelf> shelf_;

  std::mutex mutex_;
  std::map<std::string, Known> known_;
  std::map<std::string, FolderStamp> seen_;  // at the last look
  std::set<std::string> complained_;         // names that were logged as not allowed
};

// Reads the configuration and hashes the files. A folder that can't be used gives facts with broken set.
EntryFacts inspect_folder(const std::string& name, const FoundFolder& found);

}  // namespace umbel
