#include "engine/fair_queue.h"

#include <algorithm>

#include "base/check.h"

namespace umbel {
namespace {

// The slot of this key, a new or a freed one when there is none; found is false then.
template <typename Key, typename Slot>
int32_t slot_for(std::map<Key, int32_t>& index, const Key& key, std::vector<Slot>& slots, std::vector<int32_t>& free) {
  const auto [place, made] = index.try_emplace(key, 0);
  if (!made) return place->second;
  if (free.empty()) {
    free.push_back(static_cast<int32_t>(slots.size()));
    slots.emplace_back();
  }
  place->second = free.back();
  free.pop_back();
  slots[place->second] = Slot{};
  return place->second;
}

int32_t cap_of(int32_t own, int32_t general) { return own > 0 ? own : general; }

}  // namespace

FairQueue::FairQueue(const Limits& limits, size_t waiting_max)
    : tenant_running_max_(limits.tenant_running_max), adapter_running_max_(limits.adapter_running_max) {
  behind_.reserve(waiting_max);
  running_lanes_.reserve(limits.sequences_max);
}

int32_t FairQueue::enter(uint64_t tenant, const TenantCaps& caps, const void* adapter) {
  const int32_t tenant_slot = slot_for(tenant_of_, tenant, tenants_, free_tenants_);
  const int32_t adapter_slot = slot_for(adapter_of_, adapter, adapters_, free_adapters_);
  const int32_t lane_slot = slot_for(lane_of_, std::pair(tenant_slot, adapter_slot), lanes_, free_lanes_);
  Tenant& owner = tenants_[tenant_slot];
  Adapter& asked = adapters_[adapter_slot];
  Lane& lane = lanes_[lane_slot];
  owner.id = tenant;
  owner.caps = caps;
  asked.id = adapter;
  if (lane.members++ == 0) {
    lane.serial = ++serials_;
    lane.tenant = tenant_slot;
    lane.adapter = adapter_slot;
    ++owner.members;
    ++asked.members;
    open_lanes_.reserve(lanes_.capacity());
    open_tenants_.reserve(tenants_.capacity());
  }
  return lane_slot;
}

void FairQueue::leave(int32_t lane_slot) {
  Lane& lane = lanes_[lane_slot];
  CHECK(lane.members > lane.running, "only what doesn't run may leave");
  if (--lane.members > 0) return;
  lane_of_.erase({lane.tenant, lane.adapter});
  free_lanes_.push_back(lane_slot);
  if (--tenants_[lane.tenant].members == 0) {
    tenant_of_.erase(tenants_[lane.tenant].id);
    free_tenants_.push_back(lane.tenant);
  }
  if (--adapters_[lane.adapter].members == 0) {
    adapter_of_.erase(adapters_[lane.adapter].id);
    free_adapters_.push_back(lane.adapter);
  }
}

void FairQueue::started(int32_t lane_slot) {
  take_back(lane_slot);
  Lane& lane = lanes_[lane_slot];
  lane.started_at = tenants_[lane.tenant].started_at = stamp();
}

void FairQueue::stopped(int32_t lane_slot) {
  vacate(lane_slot);
  stale_ = true;
}

void FairQueue::take_back(int32_t lane_slot) {
  Lane& lane = lanes_[lane_slot];
  if (lane.running++ == 0) running_lanes_.push_back(lane_slot);
  ++tenants_[lane.tenant].running;
  ++adapters_[lane.adapter].running;
}

void FairQueue::vacate(int32_t lane_slot) {
  Lane& lane = lanes_[lane_slot];
  CHECK(lane.running > 0, "nothing of this lane runs");
  if (--lane.running == 0) std::erase(running_lanes_, lane_slot);
  --tenants_[lane.tenant].running;
  --adapters_[lane.adapter].running;
}

bool FairQueue::may_run(int32_t lane_slot) const {
  const Lane& lane = lanes_[lane_slot];
  const Tenant& tenant = tenants_[lane.tenant];
  const Adapter& adapter = adapters_[lane.adapter];
  const int32_t cap = cap_of(tenant.caps.running_max, tenant_running_max_);
  if (cap > 0 && tenant.running >= cap) return false;
  return adapter.id == nullptr || adapter_running_max_ == 0 || adapter.running < adapter_running_max_;
}

std::optional<int32_t> FairQueue::giver(int32_t lane_slot) const {
  const Lane& taker = lanes_[lane_slot];
  const int32_t taker_running = tenants_[taker.tenant].running;
  std::optional<int32_t> other, own;
  // Fullest tenant, its fullest lane, the one that started last.
  const auto gives_before = [&](const Lane& a, const Lane& b) {
    const int32_t tenant_a = tenants_[a.tenant].running, tenant_b = tenants_[b.tenant].running;
    if (tenant_a != tenant_b) return tenant_a > tenant_b;
    return a.running != b.running ? a.running > b.running : a.started_at > b.started_at;
  };
  for (const int32_t slot : running_lanes_) {
    const Lane& lane = lanes_[slot];
    const bool same = lane.tenant == taker.tenant;
    const bool has_more = same ? lane.running >= taker.running + 2 : tenants_[lane.tenant].running >= taker_running + 2;
    std::optional<int32_t>& best = same ? own : other;
    if (has_more && (!best || gives_before(lane, lanes_[*best]))) best = slot;
  }
  return other ? other : own;
}

// ---- one step's order -----------------------------------------------------------------------------------------------

// Comparisons for heaps: whose top is what comes first.
bool FairQueue::lane_after(int32_t a, int32_t b) const {
  const Lane& left = lanes_[a];
  const Lane& right = lanes_[b];
  if (left.running != right.running) return left.running > right.running;
  return waits_since(left.started_at, left.head_stamp) > waits_since(right.started_at, right.head_stamp);
}

bool FairQueue::tenant_after(int32_t a, int32_t b) const {
  const Tenant& left = tenants_[a];
  const Tenant& right = tenants_[b];
  if (left.running != right.running) return left.running > right.running;
  return waits_since(left.started_at, lanes_[open_lanes_[left.begin]].head_stamp) >
         waits_since(right.started_at, lanes_[open_lanes_[right.begin]].head_stamp);
}

void FairQueue::heap_tenants() {
  for (const int32_t slot : open_tenants_) {
    std::make_heap(open_lanes_.begin() + tenants_[slot].begin, open_lanes_.begin() + tenants_[slot].end,
                   [this](int32_t a, int32_t b) { return lane_after(a, b); });
  }
  std::make_heap(open_tenants_.begin(), open_tenants_.end(),
                 [this](int32_t a, int32_t b) { return tenant_after(a, b); });
  stale_ = false;
}

void FairQueue::begin(std::span<const WaitingView> waiting) {
  waiting_ = waiting;
  behind_.assign(waiting.size(), kNone);
  for (Lane& lane : lanes_) lane.head = lane.tail = kNone;
  for (Tenant& tenant : tenants_) tenant.begin = tenant.end = 0;
  for (int32_t index = 0; index < static_cast<int32_t>(waiting.size()); ++index) {
    Lane& lane = lanes_[waiting[index].lane];
    if (lane.head == kNone) {
      lane.head = index;
      lane.head_stamp = waiting[index].stamp;
      ++tenants_[lane.tenant].end;
    } else {
      behind_[lane.tail] = index;
    }
    lane.tail = index;
  }
  open_tenants_.clear();
  int32_t place = 0;
  for (int32_t slot = 0; slot < static_cast<int32_t>(tenants_.size()); ++slot) {
    Tenant& tenant = tenants_[slot];
    const int32_t count = tenant.end;
    tenant.begin = tenant.end = place;
    place += count;
    if (count > 0) open_tenants_.push_back(slot);
  }
  open_lanes_.resize(place);
  for (int32_t slot = 0; slot < static_cast<int32_t>(lanes_.size()); ++slot) {
    if (lanes_[slot].head != kNone) open_lanes_[tenants_[lanes_[slot].tenant].end++] = slot;
  }
  heap_tenants();
}

std::optional<size_t> FairQueue::next() const {
  if (open_tenants_.empty()) return std::nullopt;
  return static_cast<size_t>(lanes_[open_lanes_[tenants_[open_tenants_.front()].begin]].head);
}

void FairQueue::advance() {
  const std::optional<size_t> head = next();
  CHECK(head.has_value(), "there is no next one");
  settle(behind_[*head]);
}
void FairQueue::close_lane() {
  CHECK(next().has_value(), "there is no next one");
  settle(kNone);
}

void FairQueue::settle(int32_t next_head) {
  const auto lanes_less = [this](int32_t a, int32_t b) { return lane_after(a, b); };
  const auto tenants_less = [this](int32_t a, int32_t b) { return tenant_after(a, b); };
  const int32_t slot = open_tenants_.front();
  // The top's own key plays no part in taking it out, so it may have changed.
  std::pop_heap(open_tenants_.begin(), open_tenants_.end(), tenants_less);
  Tenant& tenant = tenants_[slot];
  std::pop_heap(open_lanes_.begin() + tenant.begin, open_lanes_.begin() + tenant.end, lanes_less);
  Lane& lane = lanes_[open_lanes_[tenant.end - 1]];
  lane.head = next_head;
  if (next_head == kNone) {
    --tenant.end;
  } else {
    lane.head_stamp = waiting_[next_head].stamp;
    std::push_heap(open_lanes_.begin() + tenant.begin, open_lanes_.begin() + tenant.end, lanes_less);
  }
  if (tenant.begin == tenant.end) {
    open_tenants_.pop_back();
  } else {
    std::push_heap(open_tenants_.begin(), open_tenants_.end(), tenants_less);
  }
  if (!stale_) return;
  heap_tenants();
}

}  // namespace umbel
