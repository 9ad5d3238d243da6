// QueueCounts: how many requests wait, in all, by tenant and by adapter, and who may still come.
//
// A full queue is full for those who have their share of it: a tenant with fewer than queue_max / (tenants that wait)
// may come all the same, up to queue_places_max in all. Guarded by its owner's mutex.
#pragma once

#include <cstdint>
#include <map>

#include "base/status.h"
#include "engine/limits.h"
#include "engine/request.h"

namespace umbel {

// Most requests that ever wait at once under these limits.
inline int64_t queue_places_max(const Limits& limits) { return 2 * static_cast<int64_t>(limits.queue_max); }

// On whose account a request waits.
struct QueuePlace {
  uint64_t tenant = 0;
  const void* adapter = nullptr;  // for comparison only; null = the base, which has no limit of its own
};

class QueueCounts {
 public:
  explicit QueueCounts(const Limits& limits) : limits_(limits) {}

  // One more, or kOverloaded naming the limit.
  Status enter(const QueuePlace& place, const TenantCaps& caps);
  // REQUIRES that as many entered.
  void leave(const QueuePlace& place);
  int64_t waiting() const { return waiting_; }

 private:
  const Limits limits_;
  int64_t waiting_ = 0;
  std::map<uint64_t, int64_t> tenants_;
  std::map<const void*, int64_t> adapters_;
};

}  // namespace umbel
