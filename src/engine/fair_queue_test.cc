#include "engine/fair_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "base/random.h"

namespace umbel {
namespace {

const int kAdapters[4] = {};  // by address

// A queue with its requests, as the engine keeps them.
class Line {
 public:
  struct One {
    uint64_t tenant;
    const void* adapter;
    int32_t lane;
    uint64_t stamp;
  };
  explicit Line(const Limits& limits = {}) : queue_(limits, 1000) {}

  void add(uint64_t tenant, const void* adapter = nullptr, const TenantCaps& caps = {}) {
    const int32_t lane = queue_.enter(tenant, caps, adapter);
    waiting_.push_back({tenant, adapter, lane, queue_.stamp()});
  }
  void begin() {
    views_.clear();
    for (const One& one : waiting_) views_.push_back({one.lane, one.stamp});
    queue_.begin(views_);
  }
  // One after the other until `places` are taken; tenants in the order of their starts.
  std::vector<uint64_t> fill(size_t places) {
    std::vector<uint64_t> tenants;
    std::set<size_t> started;
    begin();
    while (running_.size() < places) {
      const auto index = queue_.next();
      if (!index) break;
      if (!queue_.may_run(waiting_[*index].lane)) {
        queue_.close_lane();
        continue;
      }
      queue_.started(waiting_[*index].lane);
      queue_.advance();
      tenants.push_back(waiting_[*index].tenant);
      running_.push_back(waiting_[*index]);
      started.insert(*index);
    }
    for (auto index = started.rbegin(); index != started.rend(); ++index) {
      waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(*index));
    }
    return tenants;
  }
  void finish(size_t index) {
    queue_.stopped(running_[index].lane);
    queue_.leave(running_[index].lane);
    running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
  }

  FairQueue queue_;
  std::vector<One> waiting_, running_;
  std::vector<WaitingView> views_;
};

using Tenants = std::vector<uint64_t>;

TEST(FairQueue, TenantsTakeTurns) {
  Line line;
  for (int i = 0; i < 5; ++i) line.add(1);
  for (int i = 0; i < 2; ++i) line.add(2);
  line.add(3);
  EXPECT_EQ(line.fill(7), (Tenants{1, 2, 3, 1, 2, 1, 1}));
}

TEST(FairQueue, AdaptersOfATenantTakeTurns) {
  Line line;
  for (int i = 0; i < 4; ++i) line.add(1, &kAdapters[0]);
  line.add(1, &kAdapters[1]);
  line.fill(3);
  EXPECT_EQ(line.running_[1].adapter, &kAdapters[1]);
}

TEST(FairQueue, OneTenantOneAdapterIsFirstComeFirstServed) {
  Line line;
  for (int i = 0; i < 20; ++i) line.add(7, &kAdapters[2]);
  line.fill(10);
  for (size_t i = 1; i < 10; ++i) EXPECT_LT(line.running_[i - 1].stamp, line.running_[i].stamp);
}

// One place only: counts say nothing, so the time of the last start does. Neither a long queue nor coming back at once
// helps.
TEST(FairQueue, WithOnePlaceNobodyWaitsForMoreThanOneTurnOfEachOther) {
  Line line;
  for (int i = 0; i < 100; ++i) line.add(1);
  line.add(2);
  line.add(3);
  Tenants order;
  for (int round = 0; round < 9; ++round) {
    for (const uint64_t tenant : line.fill(1)) {
      order.push_back(tenant);
      if (tenant != 1) line.add(tenant);
    }
    line.finish(0);
  }
  EXPECT_EQ(order, (Tenants{1, 2, 3, 1, 2, 3, 1, 2, 3}));
}

TEST(FairQueue, PlacesAreTakenFromTheFullestUntilTheyAreEven) {
  Line line;
  for (int i = 0; i < 6; ++i) line.add(1, &kAdapters[i % 2]);
  for (int i = 0; i < 2; ++i) line.add(2);
  line.fill(8);  // 6 and 2
  line.add(3);
  const int32_t lane = line.waiting_.back().lane;
  for (int taken = 0; taken < 3; ++taken) {  // 6 : 2 : 0, 5 : 2 : 1, 4 : 2 : 2
    const auto giver = line.queue_.giver(lane);
    ASSERT_TRUE(giver) << taken;
    EXPECT_NE(*giver, line.running_[1].lane) << "the second tenant's";
    line.queue_.stopped(*giver);
    line.queue_.started(lane);
  }
  EXPECT_FALSE(line.queue_.giver(lane)) << "3 : 2 : 3";
}

TEST(FairQueue, AnAdapterTakesFromItsOwnTenantsFullest) {
  Line line;
  for (int i = 0; i < 4; ++i) line.add(1, &kAdapters[0]);
  line.fill(4);
  line.add(1, &kAdapters[1]);
  EXPECT_EQ(line.queue_.giver(line.waiting_[0].lane), line.running_[0].lane);
  line.add(1, &kAdapters[0]);
  EXPECT_FALSE(line.queue_.giver(line.waiting_[1].lane)) << "nobody gives to his own lane";
}

TEST(FairQueue, Caps) {
  Line line({.tenant_running_max = 2, .adapter_running_max = 3});
  for (int i = 0; i < 5; ++i) line.add(1);
  for (int i = 0; i < 5; ++i) line.add(2, &kAdapters[0], {.running_max = 4});
  EXPECT_EQ(line.fill(99), (Tenants{1, 2, 1, 2, 2})) << "1 by the general cap, 2 by the adapter's before its own";
  line.add(3, &kAdapters[0]);
  EXPECT_TRUE(line.fill(99).empty()) << "the adapter's cap holds over all tenants";
}

TEST(FairQueue, NothingIsKeptOfThoseWhoHaveGone) {
  Line line;
  for (int round = 0; round < 100; ++round) {
    line.add(static_cast<uint64_t>(round), &kAdapters[round % 4]);
    line.fill(1);
    line.finish(0);
  }
  EXPECT_EQ(line.queue_.lanes(), 0u);
}

// ---- a naive model: everything counted anew for every question ------------------------------------------------------

class Naive {
 public:
  struct Lane {
    int32_t running = 0;
    uint64_t started_at = 0;
  };
  static uint64_t key_of(const Line::One& one) { return one.tenant * 8 + adapter_of(one); }
  static uint64_t adapter_of(const Line::One& one) {
    return one.adapter == nullptr ? 0 : static_cast<uint64_t>(static_cast<const int*>(one.adapter) - kAdapters) + 1;
  }
  void started(const Line::One& one, uint64_t stamp) {
    tenants_[one.tenant].started_at = lanes_[key_of(one)].started_at = stamp;
    ++tenants_[one.tenant].running, ++lanes_[key_of(one)].running;
  }
  void stopped(const Line::One& one) { --tenants_[one.tenant].running, --lanes_[key_of(one)].running; }
  void forget(uint64_t tenant) { tenants_.erase(tenant); }
  void forget_lane(uint64_t key) { lanes_.erase(key); }

  // The first of the best lane of the best tenant, over those not passed over.
  std::optional<size_t> next(const std::vector<Line::One>& waiting, const std::vector<bool>& out) {
    std::map<uint64_t, size_t> heads;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (!out[i]) heads.try_emplace(key_of(waiting[i]), i);
    }
    using Key = std::tuple<int32_t, uint64_t>;
    std::map<uint64_t, std::pair<Key, size_t>> best;  // of a tenant
    for (const auto& [key, head] : heads) {
      const Lane& lane = lanes_[key];
      const Key rank{lane.running, std::max(lane.started_at, waiting[head].stamp)};
      const auto [place, made] = best.try_emplace(waiting[head].tenant, rank, head);
      if (!made && rank < place->second.first) place->second = {rank, head};
    }
    std::optional<size_t> result;
    Key first;
    for (const auto& [tenant, lane] : best) {
      const Lane& counts = tenants_[tenant];
      const Key rank{counts.running, std::max(counts.started_at, waiting[lane.second].stamp)};
      if (!result || rank < first) result = lane.second, first = rank;
    }
    return result;
  }

 private:
  std::map<uint64_t, Lane> tenants_, lanes_;
};

TEST(FairQueue, EqualsTheNaiveModel) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    Line line;
    Naive naive;
    const uint64_t tenants = 1 + random.next_below(5);
    for (int step = 0; step < 60; ++step) {
      for (uint64_t count = random.next_below(5); count > 0; --count) {
        const uint64_t adapter = random.next_below(4);
        line.add(random.next_below(tenants), adapter == 0 ? nullptr : &kAdapters[adapter]);
      }
      line.begin();
      std::vector<bool> out(line.waiting_.size(), false), gone(line.waiting_.size(), false);
      for (uint64_t tries = random.next_below(9); tries > 0; --tries) {
        const auto index = line.queue_.next();
        ASSERT_EQ(index, naive.next(line.waiting_, out)) << "seed " << seed << ", step " << step;
        if (!index) break;
        const Line::One one = line.waiting_[*index];
        const uint64_t mood = random.next_below(6);
        if (mood == 0) {  // nothing of this lane
          for (size_t i = 0; i < out.size(); ++i) out[i] = out[i] || line.waiting_[i].lane == one.lane;
          line.queue_.close_lane();
          continue;
        }
        out[*index] = true;
        if (mood == 1 && !line.running_.empty()) {  // somebody makes place
          const size_t victim = random.next_below(line.running_.size());
          naive.stopped(line.running_[victim]);
          line.queue_.stopped(line.running_[victim].lane);
          line.queue_.leave(line.running_[victim].lane);
          // It goes for good here; a lane that ends with it is still known in this step, as it may have waiting ones.
          line.running_.erase(line.running_.begin() + static_cast<ptrdiff_t>(victim));
        }
        if (mood != 2) {
          line.queue_.started(one.lane);
          naive.started(one, line.queue_.stamp() - 1);
          line.running_.push_back(one);
          gone[*index] = true;
        }
        line.queue_.advance();
      }
      for (size_t i = out.size(); i-- > 0;) {
        if (gone[i]) line.waiting_.erase(line.waiting_.begin() + static_cast<ptrdiff_t>(i));
      }
      while (!line.running_.empty() && random.next_below(3) != 0) {
        const size_t index = random.next_below(line.running_.size());
        naive.stopped(line.running_[index]);
        line.finish(index);
      }
      // Who has nothing here any more is forgotten.
      std::set<uint64_t> tenants_here, lanes_here;
      for (const auto* list : {&line.waiting_, &line.running_}) {
        for (const Line::One& one : *list) tenants_here.insert(one.tenant), lanes_here.insert(Naive::key_of(one));
      }
      ASSERT_EQ(line.queue_.lanes(), lanes_here.size());
      for (uint64_t tenant = 0; tenant < tenants; ++tenant) {
        if (!tenants_here.contains(tenant)) naive.forget(tenant);
        for (uint64_t adapter = 0; adapter < 8; ++adapter) {
          if (!lanes_here.contains(tenant * 8 + adapter)) naive.forget_lane(tenant * 8 + adapter);
        }
      }
    }
  }
}

}  // namespace
}  // namespace umbel
