#include "engine/kv_pool.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "base/random.h"

namespace umbel {
namespace {

TEST(KvPool, BlocksComeBackWhenTheLastShareGoes) {
  KvPool pool(3);
  BlockRef a = pool.allocate();
  BlockRef b = pool.share(a.id());
  EXPECT_EQ(pool.available(), 2);
  EXPECT_EQ(pool.references(a.id()), 2);
  a.reset();
  EXPECT_EQ(pool.available(), 2);
  BlockRef c = std::move(b);
  EXPECT_FALSE(b);
  c.reset();
  EXPECT_EQ(pool.available(), 3);
}

TEST(KvPool, RememberedBlocksStayUntilTheirSpaceIsWanted) {
  KvPool pool(2);
  BlockRef a = pool.allocate();
  const int32_t first = a.id();
  pool.remember(a);
  a.reset();
  EXPECT_EQ(pool.idle(), 1);
  BlockRef b = pool.allocate();  // the free one first
  EXPECT_NE(b.id(), first);
  BlockRef again = pool.share(first);
  EXPECT_EQ(pool.idle(), 0);
  again.reset();
  BlockRef c = pool.allocate();  // now the idle one is taken, and forgotten
  EXPECT_EQ(c.id(), first);
  EXPECT_FALSE(pool.remembered(first));
}

// Against a naive model: a list of free blocks and a list of idle ones, oldest first.
TEST(KvPool, FuzzAgainstNaiveModel) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    const auto blocks = static_cast<int32_t>(1 + random.next_below(12));
    KvPool pool(blocks);
    std::vector<BlockRef> held;
    std::map<int32_t, int> references;
    std::map<int32_t, bool> remembered;
    std::deque<int32_t> idle;
    int32_t free = blocks;
    for (int round = 0; round < 400; ++round) {
      const uint64_t action = random.next_below(4);
      if (action == 0 && pool.available() > 0) {
        held.push_back(pool.allocate());
        const int32_t id = held.back().id();
        ASSERT_EQ(references[id], 0);
        if (free > 0) {
          --free;
        } else {
          ASSERT_EQ(id, idle.front()) << "not the oldest idle block";
          idle.pop_front();
        }
        references[id] = 1;
        remembered[id] = false;
      } else if (action == 1 && !held.empty()) {
        const size_t index = random.next_below(held.size());
        const int32_t id = held[index].id();
        std::swap(held[index], held.back());
        held.pop_back();
        if (--references[id] == 0) remembered[id] ? idle.push_back(id) : void(++free);
      } else if (action == 2 && !held.empty()) {
        const int32_t id = held[random.next_below(held.size())].id();
        held.push_back(pool.share(id));
        ++references[id];
      } else if (action == 3) {
        if (!held.empty()) {
          const BlockRef& block = held[random.next_below(held.size())];
          pool.remember(block);
          remembered[block.id()] = true;
        }
        if (!idle.empty() && random.next_below(2) == 0) {
          const size_t index = random.next_below(idle.size());
          const int32_t id = idle[index];
          held.push_back(pool.share(id));
          idle.erase(idle.begin() + static_cast<ptrdiff_t>(index));
          references[id] = 1;
        }
      }
      ASSERT_EQ(pool.available(), free + static_cast<int32_t>(idle.size()));
      ASSERT_EQ(pool.idle(), static_cast<int32_t>(idle.size()));
      for (const auto& [id, count] : references) ASSERT_EQ(pool.references(id), count);
    }
    held.clear();
    pool.forget_all();
    EXPECT_EQ(pool.idle(), 0);
    EXPECT_EQ(pool.available(), blocks);
  }
}

}  // namespace
}  // namespace umbel
