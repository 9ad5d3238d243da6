// Lanes: jobs of one step computed side by side, each by one thread from its first row to its update. A thread alone has no
// other to wait for and finds what it wrote in its own cache, so where jobs can be dealt out evenly this beats all threads in one
// pass (docs/benchmarks.md). What a job computes is the same either way, bit for bit: the choice is only one of speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace umbel {

// Neighbouring jobs that a lane takes at once: places [begin, end) in the list of jobs, and their rows.
struct JobGroup {
  size_t begin = 0;
  size_t end = 0;
  int64_t rows = 0;
};

struct Lanes {
  int count = 0;            // 0: all threads share every pass
  int64_t rows = 0;         // of one lane's passes, at most
  int64_t group_rows = 0;   // jobs are grouped up to so many rows; a larger job is a group of its own
};

// rows: of one step of each job. longest: rows of the longest example. rows_max: of all passes that are computed at one time.
Lanes plan_lanes(std::span<const int64_t> rows, int64_t longest, int64_t rows_max, int threads);

// Groups, the largest first; empty where dealing them out would leave lanes idle for long.
std::vector<JobGroup> deal_jobs(std::span<const int64_t> rows, const Lanes& lanes);

}  // namespace umbel
