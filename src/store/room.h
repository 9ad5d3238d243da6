// Who must go so that a new adapter fits: by tier, then least recently used first, pinned ones never. Pure: values in, decision out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace umbel {

struct RoomItem {
  uint64_t last_used = 0;  // a counter, not a time; unique among the items
  size_t bytes = 0;
  bool fixed = false;      // pinned, or just loaded and not used yet: may not go
  int tier = 0;            // of a higher one only when none of the lower is left
};

struct RoomRequest {
  size_t budget_bytes = 0;
  size_t reserved_bytes = 0;  // promised to loads under way
  size_t need_bytes = 0;      // what the new one takes
};

struct RoomPlan {
  bool fits = false;
  std::vector<size_t> evict;  // indices into the items, in the order in which they go; empty unless fits
};

// The shortest run of movable items, by tier and then the least recently used first, whose going makes room; nothing when no run does.
RoomPlan plan_room(std::span<const RoomItem> items, const RoomRequest& request);

}  // namespace umbel
