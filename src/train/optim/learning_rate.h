// Learning-rate schedules. Pure functions of the step.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace umbel::train {

enum class ScheduleKind : uint8_t { kConstant, kLinear, kCosine, kCosineRestarts };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  int64_t steps = 1;         // of the whole run
  int64_t warmup_steps = 0;  // the rate rises linearly: (step + 1) / warmup_steps of it
  double floor = 0.0;        // share of the peak that linear and cosine end at
  int64_t cycles = 1;        // kCosineRestarts: how often the half cosine is run through
};

// The factor on the peak rate at step 0 .. steps - 1. Warm-up multiplies the decay, which runs over all steps:
// factor = min(1, (step + 1) / warmup) * (floor + (1 - floor) * shape(step / steps)); kCosine's shape is
// (1 + cos(pi p)) / 2, kLinear's 1 - p.
double schedule_factor(const Schedule& schedule, int64_t step);

// "constant", "linear", "cosine", "cosine_with_restarts".
Result<ScheduleKind> parse_schedule(const std::string& name);
std::string schedule_name(ScheduleKind kind);  // "" for what is none

}  // namespace umbel::train
