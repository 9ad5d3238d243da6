#include "train/step/lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace umbel::train {
namespace {

std::vector<int64_t> jobs(size_t count, int64_t rows) { return std::vector<int64_t>(count, rows); }

TEST(Lanes, EqualJobsAreDealtOutInGroups) {
  const auto rows = jobs(16, 192);
  const Lanes lanes = plan_lanes(rows, 24, 1024, 2);
  EXPECT_EQ(lanes.count, 2);
  EXPECT_EQ(lanes.rows, 384);  // two jobs fit in 512
  const auto groups = deal_jobs(rows, lanes);
  ASSERT_EQ(groups.size(), 8u);
  for (const JobGroup& group : groups) EXPECT_EQ(group.rows, 384);
}

TEST(Lanes, AJobLargerThanALaneIsAGroupOfItsOwn) {
  const auto rows = jobs(4, 3000);
  const Lanes lanes = plan_lanes(rows, 100, 1024, 2);
  EXPECT_EQ(lanes.count, 2);
  EXPECT_EQ(lanes.rows, 512);
  EXPECT_EQ(deal_jobs(rows, lanes).size(), 4u);
}

TEST(Lanes, ThreadsShareEveryPassWhereThereIsNothingToDealOut) {
  EXPECT_EQ(plan_lanes(jobs(1, 4000), 100, 1024, 2).count, 0) << "one job";
  EXPECT_EQ(plan_lanes(jobs(16, 192), 24, 1024, 1).count, 0) << "one thread";
  EXPECT_EQ(plan_lanes(jobs(16, 600), 600, 1024, 2).count, 0) << "an example longer than a lane";
  EXPECT_EQ(plan_lanes(jobs(16, 192), 24, 1024, 16).count, 0) << "lanes of 64 rows";
  EXPECT_EQ(plan_lanes(jobs(16, 10), 10, 1024, 2).count, 0) << "too little work";
  EXPECT_EQ(plan_lanes(jobs(3, 400), 50, 1024, 2).count, 0) << "three jobs for two threads";
  EXPECT_EQ(plan_lanes(std::vector<int64_t>{4000, 100, 100}, 50, 1024, 2).count, 0) << "one job is most of the work";
}

TEST(Lanes, EveryJobIsInOneGroupAndNoLaneWaitsLong) {
  Random random(5);
  int dealt = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<int64_t> rows(1 + random.next_below(40));
    int64_t longest = 1;
    for (int64_t& each : rows) {
      each = 1 + static_cast<int64_t>(random.next_below(600));
      longest = std::max<int64_t>(longest, 1 + static_cast<int64_t>(random.next_below(static_cast<uint64_t>(each))));
    }
    const int threads = 1 + static_cast<int>(random.next_below(8));
    const auto limit = static_cast<int64_t>(256 + random.next_below(4096));
    const Lanes lanes = plan_lanes(rows, longest, limit, threads);
    const auto groups = deal_jobs(rows, lanes);
    EXPECT_EQ(groups.empty(), lanes.count == 0);
    if (groups.empty()) continue;
    ++dealt;
    EXPECT_LE(lanes.count * lanes.rows, limit);
    EXPECT_GE(lanes.rows, longest);
    std::vector<int> seen(rows.size(), 0);
    for (size_t g = 0; g < groups.size(); ++g) {
      int64_t sum = 0;
      EXPECT_TRUE(std::is_sorted(groups[g].jobs.begin(), groups[g].jobs.end()));
      for (const size_t job : groups[g].jobs) {
        ++seen[job];
        sum += rows[job];
      }
      EXPECT_EQ(sum, groups[g].rows);
      if (g > 0) {
        EXPECT_LE(groups[g].rows, groups[g - 1].rows);
      }
    }
    for (const int times : seen) EXPECT_EQ(times, 1);
    std::vector<int64_t> load(static_cast<size_t>(lanes.count), 0);
    for (const JobGroup& group : groups) *std::min_element(load.begin(), load.end()) += group.rows;
    EXPECT_LE(*std::max_element(load.begin(), load.end()) * lanes.count, 1.15 * static_cast<double>(std::accumulate(rows.begin(), rows.end(), int64_t{0})));
  }
  EXPECT_GT(dealt, 200);
}

}  // namespace
}  // namespace umbel::train
