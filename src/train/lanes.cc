#include "train/lanes.h"

#include <algorithm>
#include <numeric>

namespace umbel {
namespace {

// Below so many rows a pass spends more on reading weights than on computing with them.
constexpr int64_t kRowsMin = 128;
// The longest lane may take so much more than its even share: what a thread alone is faster by, with room to spare.
constexpr double kUnevenMax = 1.12;

std::vector<JobGroup> group(std::span<const int64_t> rows, int64_t group_rows) {
  std::vector<JobGroup> groups;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (groups.empty() || groups.back().rows + rows[i] > group_rows) groups.push_back({i, i, 0});
    groups.back().end = i + 1;
    groups.back().rows += rows[i];
  }
  std::stable_sort(groups.begin(), groups.end(), [](const JobGroup& a, const JobGroup& b) { return a.rows > b.rows; });
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
  Lanes lanes{.count = threads, .group_rows = std::clamp(total / (2 * threads), kRowsMin, limit)};
  for (const JobGroup& each : group(rows, lanes.group_rows)) lanes.rows = std::max(lanes.rows, std::min(each.rows, limit));
  lanes.rows = std::max(lanes.rows, longest);
  return deal_jobs(rows, lanes).empty() ? Lanes{} : lanes;
}

std::vector<JobGroup> deal_jobs(std::span<const int64_t> rows, const Lanes& lanes) {
  if (lanes.count == 0) return {};
  std::vector<JobGroup> groups = group(rows, lanes.group_rows);
  if (!is_even(groups, lanes.count)) groups.clear();
  return groups;
}

}  // namespace umbel
