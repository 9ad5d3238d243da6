// TemplateRecord: what is known of one stranger's template from its renderings so far: is it trusted, and is it to wait?
// A plain policy: values and times in, values out. Not thread-safe.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace umbel {

struct TemplateRecordLimits {
  Duration quick = from_seconds(0.1);        // a rendering that costs no more is a good one
  Duration pause_first = from_seconds(1.0);  // after the first bad one; doubled after each that follows
  Duration pause_max = from_seconds(60.0);
  int trusted_after = 100;  // so many good ones in a row clear its name; the very first time, one is enough
};

class TemplateRecord {
 public:
  explicit TemplateRecord(const TemplateRecordLimits& limits) : limits_(limits) {}

  // It rendered, or failed with words of its own, at this cost (CPU time for each MiB, begun ones counted, that it was
  // given). More than quick is not good; more than three times that is as bad as a death.
  enum class Outcome : uint8_t { kRendered, kFailed, kDied };
  void note(Outcome outcome, Duration cost, TimePoint now);

  // Trusted templates do not wait for those that are not.
  bool trusted() const { return good_ >= (bad_ == 0 ? 1 : limits_.trusted_after); }
  // How long it is refused from now on; zero = not.
  Duration pause(TimePoint now) const;

 private:
  TemplateRecordLimits limits_;
  int bad_ = 0;   // deaths and the like since its name was clear
  int good_ = 0;  // good ones since the last that was not
  TimePoint refused_until_{};
};

}  // namespace umbel
