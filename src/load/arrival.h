// Arrivals: when requests start. Open loop: at drawn times, whether earlier ones have been answered or not (no
// coordinated omission). Closed loop: a fixed number of clients, each waiting for its answer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace umbel::load {

// Start times from 0 for `count` requests at `rate` per second with gamma-distributed gaps of the coefficient of
// variation cv (1 = Poisson process, 0 = constant, larger = burstier). Pure function of its arguments.
std::vector<Duration> open_loop_times(size_t count, double rate, double cv, uint64_t seed);

}  // namespace umbel::load
