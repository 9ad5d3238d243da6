#include "store/room.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/random.h"

namespace umbel {
namespace {

TEST(Room, TakesTheLeastRecentlyUsedFirst) {
  const std::vector<RoomItem> items = {{3, 10, false}, {1, 10, false}, {2, 10, false}};
  EXPECT_TRUE(plan_room(items, {30, 0, 0}).fits);
  EXPECT_TRUE(plan_room(items, {30, 0, 0}).evict.empty());
  EXPECT_EQ(plan_room(items, {30, 0, 1}).evict, (std::vector<size_t>{1}));
  EXPECT_EQ(plan_room(items, {30, 5, 6}).evict, (std::vector<size_t>{1, 2}));
  EXPECT_EQ(plan_room(items, {30, 0, 30}).evict, (std::vector<size_t>{1, 2, 0}));
  EXPECT_FALSE(plan_room(items, {30, 0, 31}).fits);
  EXPECT_TRUE(plan_room(items, {30, 0, 31}).evict.empty());
}

TEST(Room, FixedOnesStay) {
  const std::vector<RoomItem> items = {{1, 10, true}, {2, 10, false}};
  EXPECT_EQ(plan_room(items, {20, 0, 10}).evict, (std::vector<size_t>{1}));
  EXPECT_FALSE(plan_room(items, {20, 0, 11}).fits);
}

TEST(Room, SumsDoNotWrap) {
  const std::vector<RoomItem> items = {{1, SIZE_MAX - 1, true}};
  EXPECT_FALSE(plan_room(items, {100, 50, 50}).fits);
  EXPECT_FALSE(plan_room({}, {100, SIZE_MAX, 2}).fits);
}

// The truth, written down slowly: while it does not fit, the oldest movable item goes.
RoomPlan naive_plan(std::vector<RoomItem> items, const RoomRequest& request) {
  RoomPlan plan;
  std::vector<bool> gone(items.size(), false);
  while (true) {
    size_t total = request.reserved_bytes + request.need_bytes;
    for (size_t i = 0; i < items.size(); ++i) total += gone[i] ? 0 : items[i].bytes;
    if (total <= request.budget_bytes) {
      plan.fits = true;
      return plan;
    }
    std::optional<size_t> oldest;
    for (size_t i = 0; i < items.size(); ++i) {
      if (gone[i] || items[i].fixed) continue;
      if (!oldest || items[i].last_used < items[*oldest].last_used) oldest = i;
    }
    if (!oldest) return {};
    gone[*oldest] = true;
    plan.evict.push_back(*oldest);
  }
}

TEST(Room, EqualsTheNaiveModelOnRandomShelves) {
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    Random random(mix_key({11, seed}));
    std::vector<RoomItem> items(random.next_below(9));
    for (size_t i = 0; i < items.size(); ++i) {
      items[i] = {random.next_below(1000) * 16 + i, random.next_below(20), random.next_below(4) == 0};
    }
    const RoomRequest request{random.next_below(120), random.next_below(30), random.next_below(40)};
    const RoomPlan plan = plan_room(items, request);
    const RoomPlan expected = naive_plan(items, request);
    ASSERT_EQ(plan.fits, expected.fits) << seed;
    ASSERT_EQ(plan.evict, expected.evict) << seed;
  }
}

}  // namespace
}  // namespace umbel
