#include "text/template_record.h"

#include <algorithm>

namespace umbel {

void TemplateRecord::note(Outcome outcome, Duration cost, TimePoint now) {
  const bool is_bad = outcome == Outcome::kDied || cost > 3 * limits_.quick;
  if (is_bad) {
    constexpr int kDoublingsMax = 20;  // far past pause_max
    const Duration pause = limits_.pause_first * (int64_t{1} << std::min(bad_, kDoublingsMax));
    refused_until_ = now + std::min(pause, limits_.pause_max);
    bad_ = std::min(bad_ + 1, kDoublingsMax);
    good_ = 0;
  } else if (cost > limits_.quick) {
    good_ = 0;
  } else if (outcome == Outcome::kRendered) {
    good_ = std::min(good_ + 1, limits_.trusted_after);
    if (good_ == limits_.trusted_after) bad_ = 0;
  }
}

Duration TemplateRecord::pause(TimePoint now) const { return std::max(Duration::zero(), refused_until_ - now); }

}  // namespace umbel
