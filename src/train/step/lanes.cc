#include "train/step/lanes.h"

#include <algorithm>
#include <numeric>

namespace umbel::train {
namespace {

// Below so many rows a pass spends more on reading weights than on computing with them.
constexpr int64_t kRowsMin = 128;
// The longest lane may take so much more than its even share: less than what a thread alone is faster by.
constexpr double kUnevenMax = 1.15;
// Groups of a lane: more than one, so that a busy core takes fewer of them.
constexpr int64_t kGroupsOfALane = 2;
constexpr int64_t kTries = 8;

// The jobs in `count` groups of about the same rows: the largest job that is left goes to the smallest group.
std::vector<JobGroup> group(std::span<const int64_t> rows, size_t count) {
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a] > rows[b]; });
  std::vector<JobGroup> groups(std::min(count, rows.size()));
  for (const size_t job : order) {
    JobGroup& smallest = *std::min_element(groups.begin(), groups.end(), [](const JobGroup& a, const JobGroup& b) { return a.rows < b.rows; });
    smallest.jobs.push_back(job);
    smallest.rows += rows[job];
  }
  for (JobGroup& each : groups) std::sort(each.jobs.begin(), each.jobs.end());
  std::stable_sort(groups.begin(), groups.end(), [](const JobGroup& a, const JobGroup& b) { return a.rows > b.rows; });
  return groups;
}

// As few groups as let each be one pass. A few tries: a group that stays larger takes two passes.
std::vector<JobGroup> group_for_passes(std::span<const int64_t> rows, int lanes, int64_t rows_max) {
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  const int64_t least = std::max(kGroupsOfALane, total / (lanes * rows_max));
  std::vector<JobGroup> groups;
  for (int64_t each = least; each < least + kTries; ++each) {
    groups = group(rows, static_cast<size_t>(each * lanes));
    if (groups.front().rows <= rows_max || groups.front().jobs.size() == 1) break;
  }
  return groups;
}

// The next free lane takes the next group.
bool is_even(std::span<const JobGroup> groups, int lanes) {
  std::vector<int64_t> load(static_cast<size_t>(lanes), 0);
  for (const JobGroup& each : groups) *std::min_element(load.begin(), load.end()) += each.rows;
  const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0}));
  return static_cast<double>(*std::max_element(load.begin(), load.end())) <= kUnevenMax * total / lanes;
}

}  // namespace

Lanes plan_lanes(std::span<const int64_t> rows, int64_t longest, int64_t rows_max, int threads) {
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  const int64_t limit = rows_max / threads;
  if (threads < 2 || rows.size() < 2 || limit < std::max(kRowsMin, longest) || total < threads * kRowsMin) return {};
  const std::vector<JobGroup> groups = group_for_passes(rows, threads, limit);
  if (!is_even(groups, threads)) return {};
  return {threads, std::max(longest, std::min(groups.front().rows, limit))};
}

std::vector<JobGroup> deal_jobs(std::span<const int64_t> rows, const Lanes& lanes) {
  if (lanes.count == 0 || rows.empty()) return {};
  std::vector<JobGroup> groups = group_for_passes(rows, lanes.count, lanes.rows);
  if (!is_even(groups, lanes.count)) groups.clear();
  return groups;
}

}  // namespace umbel::train
