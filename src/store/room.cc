#include "store/room.h"

#include <algorithm>
#include <utility>

namespace umbel {

RoomPlan plan_room(std::span<const RoomItem> items, const RoomRequest& request) {
  // Sums of sizes can't wrap in practice, but sizes of strangers' files enter here: saturate.
  const auto add = [](size_t a, size_t b) { return a + b < a ? SIZE_MAX : a + b; };
  size_t taken = add(request.reserved_bytes, request.need_bytes);
  std::vector<size_t> movable;
  for (size_t i = 0; i < items.size(); ++i) {
    taken = add(taken, items[i].bytes);
    if (!items[i].fixed) movable.push_back(i);
  }
  std::sort(movable.begin(), movable.end(),
            [&](size_t a, size_t b) { return std::pair(items[a].tier, items[a].last_used) < std::pair(items[b].tier, items[b].last_used); });
  RoomPlan plan;
  for (size_t index : movable) {
    if (taken <= request.budget_bytes) break;
    taken -= items[index].bytes;
    plan.evict.push_back(index);
  }
  plan.fits = taken <= request.budget_bytes;
  if (!plan.fits) plan.evict.clear();
  return plan;
}

}  // namespace umbel
