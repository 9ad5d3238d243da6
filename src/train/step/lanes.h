// Lanes: jobs of one step computed side by side, each by one thread from its first row to its update. A thread alone has no
// other to wait for and finds what it wrote in its own cache, so where jobs can be dealt out evenly this beats all threads in one
// pass (docs/benchmarks.md). What a job computes is the same either way, bit for bit: the choice is only one of speed. Pure functions, any thread; rows are tokens computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace umbel::train {

// Jobs that a lane takes at once: their places in the list of jobs, ascending, and their rows.
struct JobGroup {
  std::vector<size_t> jobs;
  int64_t rows = 0;
};

struct Lanes {
  int count = 0;     // 0: all threads share every pass
  int64_t rows = 0;  // of one lane's passes, at most

  bool operator==(const Lanes&) const = default;
};

// rows: of one step of each job, at most. longest: rows of the longest example. rows_max: of all passes that are computed at one time.
Lanes plan_lanes(std::span<const int64_t> rows, int64_t longest, int64_t rows_max, int threads);

// Groups, the largest first, of the jobs of one step; empty where dealing them out would leave lanes idle for long.
std::vector<JobGroup> deal_jobs(std::span<const int64_t> rows, const Lanes& lanes);

}  // namespace umbel::train
