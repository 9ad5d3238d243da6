// RateLimit: so many units a minute, as a token bucket. Pure: the clock is an argument; no locks (its owner has one).
//
// The bucket holds one minute's units, begins full and fills evenly. A cost that is known only afterwards is taken as
// an estimate and settled with what it was: the level may become negative, and that debt is waited for. An estimate
// beyond a whole minute's units waits for a full bucket instead of for ever. So within any time t at most
// per_minute * (1 + t / 1 min) units are let in, plus by how much the last admitted cost exceeded its estimate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace umbel::serve {

class RateLimit {
 public:
  // Unlimited until set_limit() says otherwise.
  RateLimit() = default;

  // nullopt = unlimited. What was spent stays spent. REQUIRES *per_minute >= 1.
  void set_limit(std::optional<int64_t> per_minute, TimePoint now);
  std::optional<int64_t> limit() const { return per_minute_; }

  // What take() took; settle() wants it back.
  struct Taken {
    double units = 0;
  };
  // nullopt = not now, and nothing was taken. estimate >= 0.
  std::optional<Taken> take(int64_t estimate, TimePoint now);
  // The cost was actual and not what was taken.
  void settle(Taken taken, int64_t actual, TimePoint now);

  // How long until take(estimate) works if nobody else takes.
  Duration wait(int64_t estimate, TimePoint now);
  // Whole units that are left now; never negative.
  int64_t remaining(TimePoint now);
  // How long until the bucket is full.
  Duration reset(TimePoint now);

 private:
  void refill(TimePoint now);
  double needed(int64_t estimate) const;
  Duration time_for(double units) const;

  std::optional<int64_t> per_minute_;
  double level_ = 0;  // units; <= per_minute_
  TimePoint at_{};    // when level_ was right
};

// As OpenAI's x-ratelimit-reset-* headers write durations: "0s", "20ms", "1.5s", "6m0s", "1h0m2s"; rounded up to
// milliseconds.
std::string duration_text(Duration duration);

}  // namespace umbel::serve
