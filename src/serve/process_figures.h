// What the system counts of this process, for /metrics.
#pragma once

#include <cstdint>

namespace umbel::serve {

struct ProcessFigures {
  double cpu_seconds = 0;
  double start_time_seconds = 0;  // since the epoch
  uint64_t virtual_bytes = 0;
  int open_fds = 0;
  double max_fds = 0;
  int threads = 0;
};

// Reads /proc/self; zeros where the system does not say.
ProcessFigures process_figures();

}  // namespace umbel::serve
