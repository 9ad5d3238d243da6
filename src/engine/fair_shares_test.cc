#include "engine/fair_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/random.h"

namespace umbel {
namespace {

TEST(FillEvenly, EqualsHandingOutUnitByUnit) {
  std::vector<int64_t> parts;
  std::vector<int32_t> scratch;
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    Random random(seed);
    std::vector<int64_t> wants(1 + random.next_below(9));
    for (int64_t& want : wants) want = static_cast<int64_t>(random.next_below(12));
    const auto total = static_cast<int64_t>(random.next_below(60));
    std::vector<int64_t> naive(wants.size(), 0);
    int64_t left = total;
    for (bool gave = true; gave && left > 0;) {
      gave = false;
      for (size_t i = 0; i < wants.size() && left > 0; ++i) {
        if (naive[i] == wants[i]) continue;
        ++naive[i], --left;
        gave = true;
      }
    }
    fill_evenly(total, wants, parts, scratch);
    ASSERT_EQ(parts, naive) << "seed " << seed;
  }
}

// Serves whole rows as the scheduler does; gives the cost that each lane got.
std::vector<int64_t> serve(FairShares& shares, std::span<const ShareDemand> demands, int64_t budget, int64_t step) {
  shares.open(demands, static_cast<int32_t>(budget), step);
  std::vector<int64_t> used(demands.size(), 0);
  int64_t left = budget;
  for (const bool entitled : {true, false}) {
    for (const int32_t lane : shares.order()) {
      const int64_t cost = demands[lane].row_cost;
      const int64_t own = entitled ? shares.entitled(lane) - used[lane] : left;
      const bool alone = left == budget;
      int64_t rows = std::max<int64_t>(0, std::min({own, left, demands[lane].demand - used[lane]})) / cost;
      if (rows == 0 && alone && own >= cost) rows = 1;
      if (!entitled && rows == 0 && alone) rows = 1;
      used[lane] += rows * cost;
      left -= rows * cost;
    }
  }
  shares.close(used);
  return used;
}

ShareDemand demand_of(uint64_t lane, uint64_t tenant, int64_t rows, int32_t cost) {
  return {.lane = lane, .tenant = tenant, .oldest = lane, .demand = rows * cost, .row_cost = cost};
}

TEST(FairShares, AloneItMayTakeEverything) {
  FairShares shares(4);
  EXPECT_EQ(serve(shares, std::vector{demand_of(1, 1, 1000, 1)}, 512, 1), (std::vector<int64_t>{512}));
  EXPECT_EQ(serve(shares, std::vector{demand_of(1, 1, 1000, 600)}, 512, 2), (std::vector<int64_t>{600}));
}

TEST(FairShares, TenantsFirstThenTheirLanes) {
  FairShares shares(8);
  const std::vector<ShareDemand> demands = {demand_of(1, 1, 999, 1), demand_of(2, 1, 999, 1), demand_of(3, 2, 999, 1)};
  EXPECT_EQ(serve(shares, demands, 512, 1), (std::vector<int64_t>{128, 128, 256}));
  // Who wants little leaves the rest to its own tenant first.
  const std::vector<ShareDemand> small = {demand_of(1, 1, 10, 1), demand_of(2, 1, 999, 1), demand_of(3, 2, 999, 1)};
  EXPECT_EQ(serve(shares, small, 512, 2), (std::vector<int64_t>{10, 246, 256}));
}

// A row that costs more than a whole step, beside 60 cheap ones: its turn comes when its half of the steps has paid for
// it.
TEST(FairShares, ADearLaneSavesUpWhileOthersAreServed) {
  FairShares shares(4);
  const std::vector<ShareDemand> demands = {demand_of(1, 1, 9, 600), demand_of(2, 2, 60, 1)};
  int dear = 0, cheap = 0, missed = 0;
  for (int64_t step = 1; step <= 300; ++step) {
    const auto used = serve(shares, demands, 512, step);
    dear += used[0] > 0;
    cheap += used[1] > 0;
    missed = used[1] > 0 ? 0 : missed + 1;
    ASSERT_LE(missed, 1) << step;
  }
  EXPECT_NEAR(dear, 300 * 256 / 600, 2);
  EXPECT_EQ(cheap, 300 - dear);
}

// Random lanes that stay, with demands that change: what the header promises.
TEST(FairShares, PromisesHoldForRandomLanes) {
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    Random random(seed);
    const auto budget = static_cast<int64_t>(1 + random.next_below(80));
    std::vector<ShareDemand> demands(2 + random.next_below(7));
    std::map<uint64_t, int64_t> lanes_of;
    for (size_t i = 0; i < demands.size(); ++i) {
      const auto cost = static_cast<int32_t>(random.next_below(3) == 0 ? 1 + random.next_below(100) : 1);
      demands[i] = demand_of(i * 3 + 1, random.next_below(4), 1, cost);
      ++lanes_of[demands[i].tenant];
    }
    FairShares shares(16);
    std::vector<int64_t> unserved(demands.size(), 0);
    for (int64_t step = 1; step <= 400; ++step) {
      for (ShareDemand& demand : demands) {
        const uint64_t rows_max = random.next_below(4) == 0 ? 90 : 3;
        demand.demand = static_cast<int64_t>(1 + random.next_below(rows_max)) * demand.row_cost;
      }
      const auto used = serve(shares, demands, budget, step);
      int64_t cost = 0, rows = 0;
      for (size_t i = 0; i < used.size(); ++i) {
        cost += used[i];
        rows += used[i] / demands[i].row_cost;
      }
      ASSERT_TRUE(cost <= budget || rows == 1) << "seed " << seed;
      ASSERT_GT(rows, 0) << "seed " << seed;
      for (size_t i = 0; i < used.size(); ++i) {
        const ShareDemand& demand = demands[i];
        ASSERT_TRUE(used[i] == demand.demand || budget - cost < demand.row_cost) << "seed " << seed << ": some is left";
        const auto shares_in_all = static_cast<int64_t>(lanes_of.size()) * lanes_of[demand.tenant];
        const int64_t equal_share = budget / static_cast<int64_t>(lanes_of.size()) / lanes_of[demand.tenant];
        const auto lanes = static_cast<int64_t>(demands.size());
        const int64_t most =
            demand.row_cost <= equal_share ? 1 : 2 * demand.row_cost * shares_in_all / budget + 2 * lanes + 2;
        unserved[i] = used[i] > 0 ? 0 : unserved[i] + 1;
        ASSERT_LE(unserved[i], most) << "seed " << seed << ", step " << step << ", lane " << i;
      }
    }
  }
}

// Tenants that always want more get the same over time, whatever their rows cost and however many lanes they have.
TEST(FairShares, EqualSharesInTheLongRun) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    const auto budget = static_cast<int64_t>(60 + random.next_below(400));
    std::vector<ShareDemand> demands(2 + random.next_below(6));
    std::map<uint64_t, int64_t> got;
    for (size_t i = 0; i < demands.size(); ++i) {
      const auto cost = static_cast<int32_t>(1 + random.next_below(6));
      demands[i] = demand_of(i + 1, i < 2 ? i : random.next_below(3), 100000, cost);
    }
    FairShares shares(16);
    constexpr int64_t kSteps = 500;
    for (int64_t step = 1; step <= kSteps; ++step) {
      const auto used = serve(shares, demands, budget, step);
      for (size_t i = 0; i < used.size(); ++i) got[demands[i].tenant] += used[i];
    }
    const int64_t equal = budget * kSteps / static_cast<int64_t>(got.size());
    for (const auto& [tenant, cost] : got) {
      EXPECT_GT(cost, equal * 8 / 10) << "seed " << seed << ", tenant " << tenant;
    }
  }
}

TEST(FairShares, WhoGoesAwayKeepsNoCredit) {
  FairShares shares(4);
  const ShareDemand dear = demand_of(1, 1, 9, 600), cheap = demand_of(2, 2, 60, 1), other = demand_of(3, 3, 1, 1);
  for (int64_t step = 1; step <= 2; ++step) (void)serve(shares, std::vector{dear, cheap}, 512, step);  // nearly paid
  (void)serve(shares, std::vector{cheap, other}, 512, 3);
  EXPECT_EQ(serve(shares, std::vector{dear, cheap}, 512, 4), (std::vector<int64_t>{0, 60}));
}

}  // namespace
}  // namespace umbel
