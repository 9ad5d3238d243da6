#include "engine/queue_counts.h"

#include <string>

#include "base/check.h"

namespace umbel {
namespace {

template <typename Key>
int64_t count_of(const std::map<Key, int64_t>& counts, Key key) {
  const auto found = counts.find(key);
  return found == counts.end() ? 0 : found->second;
}

template <typename Key>
void count_down(std::map<Key, int64_t>& counts, Key key) {
  const auto found = counts.find(key);
  CHECK(found != counts.end(), "what leaves the queue has entered it");
  if (--found->second == 0) counts.erase(found);
}

Status overloaded(const char* what, int64_t limit) {
  return Status(Code::kOverloaded, std::string(what) + " is full: " + std::to_string(limit) + " requests wait already");
}

}  // namespace

Status QueueCounts::enter(const QueuePlace& place, const TenantCaps& caps) {
  const auto& [tenant, adapter] = place;
  const int64_t own = count_of(tenants_, tenant);
  const int64_t own_max = caps.queue_max > 0 ? caps.queue_max : limits_.tenant_queue_max;
  if (own_max > 0 && own >= own_max) return overloaded("this key's own part of the queue", own_max);
  const int64_t adapter_max = adapter == nullptr ? 0 : limits_.adapter_queue_max;
  if (adapter_max > 0 && count_of(adapters_, adapter) >= adapter_max) {
    return overloaded("this adapter's part of the queue", adapter_max);
  }
  const auto tenants = static_cast<int64_t>(tenants_.size()) + (own == 0 ? 1 : 0);
  const bool has_share = own >= limits_.queue_max / tenants;
  if (waiting_ >= (has_share ? limits_.queue_max : queue_places_max(limits_))) {
    return overloaded("the queue", limits_.queue_max);
  }
  ++waiting_;
  ++tenants_[tenant];
  ++adapters_[adapter];
  return ok_status();
}

void QueueCounts::leave(const QueuePlace& place) {
  --waiting_;
  count_down(tenants_, place.tenant);
  count_down(adapters_, place.adapter);
}

}  // namespace umbel
