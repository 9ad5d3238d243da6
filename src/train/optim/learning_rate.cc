#include "train/optim/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace umbel::train {
namespace {

constexpr std::pair<const char*, ScheduleKind> kSchedules[] = {{"constant", ScheduleKind::kConstant},
                                                               {"linear", ScheduleKind::kLinear},
                                                               {"cosine", ScheduleKind::kCosine},
                                                               {"cosine_with_restarts", ScheduleKind::kCosineRestarts}};

constexpr double kPi = 3.14159265358979323846;

double half_cosine(double progress) { return 0.5 * (1.0 + std::cos(kPi * progress)); }

double shape(const Schedule& schedule, double progress) {
  switch (schedule.kind) {
    case ScheduleKind::kConstant: return 1.0;
    case ScheduleKind::kLinear: return 1.0 - progress;
    case ScheduleKind::kCosine: return half_cosine(progress);
    case ScheduleKind::kCosineRestarts: {
      const double turns = progress * static_cast<double>(std::max<int64_t>(1, schedule.cycles));
      return half_cosine(turns - std::floor(turns));
    }
  }
  return 1.0;
}

}  // namespace

double schedule_factor(const Schedule& schedule, int64_t step) {
  const double steps = static_cast<double>(std::max<int64_t>(1, schedule.steps));
  const double progress = std::clamp(static_cast<double>(step) / steps, 0.0, 1.0);
  double factor = schedule.floor + (1.0 - schedule.floor) * shape(schedule, progress);
  if (schedule.kind == ScheduleKind::kConstant) factor = 1.0;
  if (schedule.warmup_steps > 0) {
    factor *= std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps));
  }
  return factor;
}

Result<ScheduleKind> parse_schedule(const std::string& name) {
  std::string known;
  for (const auto& [text, kind] : kSchedules) {
    if (name == text) return kind;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return invalid_argument("unknown schedule \"" + name + "\" (known: " + known + ")");
}

std::string schedule_name(ScheduleKind kind) {
  for (const auto& [text, value] : kSchedules) {
    if (value == kind) return text;
  }
  return "";
}

}  // namespace umbel::train
