#include "engine/policy.h"

#include <algorithm>

namespace umbel {
namespace {

// 0 = not served for too long, 1 = decoding (one row), 2 = reading its prompt.
int service_class(const SequenceView& view, int64_t step) {
  if (step - view.served_step >= kAgedSteps) return 0;
  return view.remaining == 1 ? 1 : 2;
}

}  // namespace

bool Policy::before(const SequenceView& a, const SequenceView& b, int64_t step) const {
  const int class_a = service_class(a, step);
  const int class_b = service_class(b, step);
  if (class_a != class_b) return class_a < class_b;
  // Prompts are finished one after the other; everything else takes turns.
  if (class_a != 2 && a.served_step != b.served_step) return a.served_step < b.served_step;
  return a.arrival < b.arrival;
}

bool Policy::admits(const AdmissionView& view) const {
  if (view.running >= view.sequences_max) return false;
  if (view.running == 0) return true;  // submit() made sure that any one request fits alone
  // One block beyond for everybody's next token keeps a newcomer from being preempted at once.
  const int32_t reserve = view.running + 1;
  return view.blocks_needed + view.blocks_idle_shared + view.blocks_promised + reserve <= view.blocks_available;
}

bool Policy::yields(const SequenceView& victim, const SequenceView& needy) const {
  // Everybody's first before anybody's second, and so on; among equals the older one.
  return victim.rank != needy.rank ? victim.rank > needy.rank : victim.arrival > needy.arrival;
}

int32_t Policy::rows(const SequenceView& view, int32_t budget_left, bool alone) const {
  const int32_t fit = std::min(view.remaining, budget_left / view.cost);
  return fit == 0 && alone ? 1 : std::max(fit, 0);
}

}  // namespace umbel
