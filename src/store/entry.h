// AdapterEntry: one version of one adapter. Inside store/ only; outside it is an opaque AdapterRef.
//
// The facts never change. Everything else belongs to the Shelf and is touched under its mutex only.
#pragma once

#include <memory>
#include <string>

#include "adapters/adapter.h"
#include "base/clock.h"
#include "store/folder.h"
#include "store/library.h"

namespace umbel {

class Shelf;

struct EntryFacts {
  AdapterId id;
  FolderPlace place;
  std::string kind;
  int32_t rank_max = 0;
  std::string chat_template_dir;
  size_t file_bytes = 0;  // of the tensors' file: the first guess of its size in memory
  size_t build_bytes = 0;  // what building it takes for the moment, beside what it is then
  Status broken;          // not ok: what is wrong with the folder, so that it is never loaded
};

class AdapterEntry {
 public:
  AdapterEntry(std::shared_ptr<Shelf> shelf, EntryFacts facts);
  // Takes its bytes off the shelf. Never destroyed under the shelf's mutex.
  ~AdapterEntry();
  AdapterEntry(const AdapterEntry&) = delete;
  AdapterEntry& operator=(const AdapterEntry&) = delete;

  const EntryFacts& facts() const { return facts_; }

 private:
  friend class Shelf;
  // kServed: its name leads here. kArriving: its name will, once it is in memory. kReplaced: another version has its name; those who
  // hold it go on as long as it stays in memory, or is what the folder holds. kUnloaded: refused to all but those who have it pinned.
  enum class Standing : uint8_t { kServed, kArriving, kReplaced, kUnloaded };

  const std::shared_ptr<Shelf> shelf_;
  const EntryFacts facts_;

  Standing standing_ = Standing::kServed;
  bool on_disk_ = true;  // the folder still holds it: it can be loaded (again)
  AdapterState state_ = AdapterState::kKnown;
  std::shared_ptr<const Adapter> adapter_;  // when kResident
  size_t need_bytes_ = 0;                   // in memory: a guess until exact
  size_t reserved_bytes_ = 0;               // when kLoading
  bool need_exact_ = false;
  TimePoint load_begun_{};                  // when kLoading: when a thread took it
  int32_t pins_ = 0;
  uint64_t last_used_ = 0;
  TimePoint kept_until_{};  // just loaded for somebody: not evicted before this, or before its first pin
  Status failure_;          // kFailed: why
};

}  // namespace umbel
