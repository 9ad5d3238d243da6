// FairQueue: in which order waiting requests are tried, whose caps hold them back, and who makes place for whom.
//
// A lane is what one tenant asks of one adapter; the base is an adapter like any other. The next lane to be tried is
// one of the tenant with the fewest running sequences, of those its lane with the fewest; among equals the one that has
// waited longest since its last start; within a lane the oldest request. When all places are taken, a lane may take one
// from the tenant with the most if that one still has more than its own afterwards (then from the tenant's fullest
// lane), else from the fullest lane of its own tenant by the same rule: every exchange makes the places more equal, so
// there is an end of it.
//
// One thread. Decisions depend on counts and on the order of events only. Each step costs O(waiting + lanes log lanes);
// nothing is allocated but when a lane, tenant or adapter comes that isn't there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/limits.h"
#include "engine/request.h"

namespace umbel {

// A waiting request, as the queue sees it.
struct WaitingView {
  int32_t lane = 0;
  uint64_t stamp = 0;  // from FairQueue::stamp() at arrival
};

class FairQueue {
 public:
  // Of limits, only the caps count. waiting_max: requests that can wait at once.
  FairQueue(const Limits& limits, size_t waiting_max);

  // A request comes: its lane, made when there is none. adapter: any identity, null = the base. caps hold from now on.
  int32_t enter(uint64_t tenant, const TenantCaps& caps, const void* adapter);
  // It has ended. REQUIRES that it does not run.
  void leave(int32_t lane);
  // Rises with every call.
  uint64_t stamp() { return ++clock_; }
  void started(int32_t lane);
  // Preempted, or ended while it ran.
  void stopped(int32_t lane);
  // As stopped and started, but on trial: what waited since when stays as it was.
  void vacate(int32_t lane);
  void take_back(int32_t lane);

  int32_t running(int32_t lane) const { return lanes_[lane].running; }
  uint64_t serial(int32_t lane) const { return lanes_[lane].serial; }  // never used again for another lane
  // False when a cap of its tenant or adapter lets no more sequences of this lane run.
  bool may_run(int32_t lane) const;
  // The lane that a newcomer of this lane may take a place from; nullopt = none. Lanes that are as full give as well.
  std::optional<int32_t> giver(int32_t lane) const;
  bool as_full(int32_t a, int32_t b) const {
    return lanes_[a].tenant == lanes_[b].tenant && lanes_[a].running == lanes_[b].running;
  }

  // One step's order. waiting: by ascending stamp; borrowed until the last call of the group.
  void begin(std::span<const WaitingView> waiting);
  // Index in waiting of the request to be tried next; the same until one of the calls below. nullopt = none is left.
  std::optional<size_t> next() const;
  void advance();     // it was started, or is passed over: the next of its lane comes into question
  void close_lane();  // nothing more of its lane in this step

  size_t lanes() const { return lane_of_.size(); }

 private:
  static constexpr int32_t kNone = -1;
  struct Tenant {
    uint64_t id = 0;
    TenantCaps caps;
    int32_t members = 0;  // its lanes
    int32_t running = 0;
    uint64_t started_at = 0;  // stamp of the last start
    int32_t begin = 0, end = 0;  // open lanes: a heap in open_lanes_
  };
  struct Adapter {
    const void* id = nullptr;
    int32_t members = 0;
    int32_t running = 0;
  };
  struct Lane {
    uint64_t serial = 0;
    int32_t tenant = 0, adapter = 0;
    int32_t members = 0;  // requests, waiting or running
    int32_t running = 0;
    uint64_t started_at = 0;
    int32_t head = kNone, tail = kNone;  // in waiting
    uint64_t head_stamp = 0;
  };
  static uint64_t waits_since(uint64_t started_at, uint64_t stamp) { return started_at > stamp ? started_at : stamp; }
  bool lane_after(int32_t a, int32_t b) const;
  bool tenant_after(int32_t a, int32_t b) const;
  void heap_tenants();
  // The lane that was next has another head now, or is closed; counts may have changed.
  void settle(int32_t next_head);  // kNone: closed

  const int32_t tenant_running_max_, adapter_running_max_;
  std::vector<Tenant> tenants_;
  std::vector<Adapter> adapters_;
  std::vector<Lane> lanes_;
  std::vector<int32_t> free_tenants_, free_adapters_, free_lanes_;
  std::map<uint64_t, int32_t> tenant_of_;
  std::map<const void*, int32_t> adapter_of_;
  std::map<std::pair<int32_t, int32_t>, int32_t> lane_of_;
  uint64_t clock_ = 0;
  uint64_t serials_ = 0;

  std::span<const WaitingView> waiting_;
  std::vector<int32_t> behind_;        // beside waiting: the next of its lane
  std::vector<int32_t> open_lanes_;    // by tenant
  std::vector<int32_t> open_tenants_;  // a heap
  std::vector<int32_t> running_lanes_;
  bool stale_ = false;  // somebody's count fell: the heaps are to be made anew
};

}  // namespace umbel
