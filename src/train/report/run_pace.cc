#include "train/report/run_pace.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace umbel::train {
namespace {

constexpr double kForwardShare = 1.0 / 3;

}  // namespace

std::string format_seconds(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  char text[32];
  if (whole < 60) std::snprintf(text, sizeof text, "%llds", whole);
  else if (whole < 3600) std::snprintf(text, sizeof text, "%lldm%02llds", whole / 60, whole % 60);
  else if (whole < 86400) std::snprintf(text, sizeof text, "%lldh%02lldm", whole / 3600, whole / 60 % 60);
  else std::snprintf(text, sizeof text, "%lldd%02lldh", whole / 86400, whole / 3600 % 24);
  return text;
}

void Pace::add_step(int64_t tokens, double seconds) {
  const bool first = steps_++ == 0;
  (first ? first_tokens_ : train_tokens_) += static_cast<double>(tokens);
  (first ? first_seconds_ : train_seconds_) += seconds;
}

void Pace::add_eval(int64_t tokens, double seconds) {
  eval_tokens_ += static_cast<double>(tokens);
  eval_seconds_ += seconds;
}

double Pace::tokens_per_second() const {
  const double seconds = train_seconds_ > 0 ? train_seconds_ : first_seconds_;
  const double tokens = train_seconds_ > 0 ? train_tokens_ : first_tokens_;
  return seconds > 0 ? tokens / seconds : 0.0;
}

double Pace::left_seconds(const WorkLeft& left) const {
  const double speed = tokens_per_second();
  if (speed <= 0) return 0;
  const double train_token = 1.0 / speed;
  const double eval_token = eval_tokens_ > 0 ? eval_seconds_ / eval_tokens_ : kForwardShare * train_token;
  return std::max(0.0, left.train_tokens) * train_token + std::max(0.0, left.eval_tokens) * eval_token;
}

}  // namespace umbel::train
