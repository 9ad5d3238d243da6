// Does work grow with its input, or with its square? Measured as the thread's own CPU time, the least of several runs, and
// compared with itself at a quarter of the size: neither the machine's speed nor its other tenants count.
#pragma once

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace umbel::testing {

// Linear work has 2, linear times logarithm 2.1 to 2.3, quadratic 4.
inline constexpr double kGrowthMax = 2.6;

inline double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// prepare(size) makes an input outside of the clock, work(input) is what is measured. The least of several runs.
template <typename Prepare, typename Work>
double least_cpu_seconds(size_t size, const Prepare& prepare, const Work& work) {
  double least = INFINITY;
  for (int run = 0; run < 5; ++run) {
    auto input = prepare(size);
    const double begin = thread_cpu_seconds();
    work(input);
    least = std::min(least, thread_cpu_seconds() - begin);
  }
  return least;
}

// How many times dearer an input of twice the size is, on average between size and four times size. Choose size so that
// the work takes a millisecond or so.
template <typename Prepare, typename Work>
double growth_of_doubling(size_t size, const Prepare& prepare, const Work& work) {
  const double small = least_cpu_seconds(size, prepare, work);
  const double large = least_cpu_seconds(4 * size, prepare, work);
  return std::sqrt(large / std::max(small, 1e-6));
}

}  // namespace umbel::testing
