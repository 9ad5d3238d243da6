// Time as an argument: the real clock, and one that a test turns by hand. Policies take a TimePoint, never read a clock.
#pragma once

#include <atomic>
#include <chrono>

namespace umbel {

using Duration = std::chrono::nanoseconds;
// Monotonic time since an arbitrary origin; not wall time.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

inline double to_seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }
inline Duration from_seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

// Thread-safe: now() may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

class RealClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

// Stands still until advance() is called.
class ManualClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(Duration(nanoseconds_.load())); }
  void advance(Duration step) { nanoseconds_ += step.count(); }

 private:
  std::atomic<Duration::rep> nanoseconds_{0};
};

}  // namespace umbel
