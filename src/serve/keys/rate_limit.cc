#include "serve/keys/rate_limit.h"

#include <algorithm>
#include <cmath>

namespace umbel::serve {
namespace {

constexpr double kMinuteSeconds = 60;
// A level that is short by less than this through rounding counts as enough.
constexpr double kRounding = 1e-6;

}  // namespace

void RateLimit::refill(TimePoint now) {
  if (!per_minute_) return;
  const double full = static_cast<double>(*per_minute_);
  if (now > at_) {
    level_ = std::min(full, level_ + to_seconds(now - at_) * full / kMinuteSeconds);
    at_ = now;
  }
}

void RateLimit::set_limit(std::optional<int64_t> per_minute, TimePoint now) {
  if (per_minute == per_minute_) return;
  refill(now);
  const double spent = per_minute_ ? static_cast<double>(*per_minute_) - level_ : 0;
  per_minute_ = per_minute;
  level_ = per_minute ? static_cast<double>(*per_minute) - spent : 0;
  at_ = now;
}

double RateLimit::needed(int64_t estimate) const { return static_cast<double>(std::min(estimate, *per_minute_)); }

Duration RateLimit::time_for(double units) const {
  if (units <= kRounding) return Duration{};
  return from_seconds(units * kMinuteSeconds / static_cast<double>(*per_minute_));
}

std::optional<RateLimit::Taken> RateLimit::take(int64_t estimate, TimePoint now) {
  if (!per_minute_) return Taken{};
  refill(now);
  const double units = needed(estimate);
  if (level_ + kRounding < units) return std::nullopt;
  level_ -= units;
  return Taken{units};
}

void RateLimit::settle(Taken taken, int64_t actual, TimePoint now) {
  if (!per_minute_) return;
  refill(now);
  level_ = std::min(static_cast<double>(*per_minute_), level_ + taken.units - static_cast<double>(actual));
}

Duration RateLimit::wait(int64_t estimate, TimePoint now) {
  if (!per_minute_) return Duration{};
  refill(now);
  return time_for(needed(estimate) - level_);
}

int64_t RateLimit::remaining(TimePoint now) {
  if (!per_minute_) return INT64_MAX;
  refill(now);
  return std::max<int64_t>(0, static_cast<int64_t>(std::floor(level_ + kRounding)));
}

Duration RateLimit::reset(TimePoint now) {
  if (!per_minute_) return Duration{};
  refill(now);
  return time_for(static_cast<double>(*per_minute_) - level_);
}

std::string duration_text(Duration duration) {
  constexpr int64_t kMillisecond = 1000000;
  const int64_t total = (std::max<int64_t>(duration.count(), 0) + kMillisecond - 1) / kMillisecond;
  if (total == 0) return "0s";
  if (total < 1000) return std::to_string(total) + "ms";
  const int64_t hours = total / 3600000, minutes = total / 60000 % 60, seconds = total / 1000 % 60, rest = total % 1000;
  std::string text;
  if (hours > 0) text += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m";
  text += std::to_string(seconds);
  if (rest > 0) {
    std::string digits = std::to_string(1000 + rest).substr(1);
    while (digits.back() == '0') digits.pop_back();
    text += "." + digits;
  }
  return text + "s";
}

}  // namespace umbel::serve
