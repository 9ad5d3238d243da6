// Two low-rank updates compared without forming either: Frobenius products of B A need only the small matrices B1' B2 and
// A1 A2', O(rank^2 (in + out)) in place of O(rank in out).
#pragma once

#include "adapters/lora_modules.h"

namespace umbel {

struct UpdateComparison {
  double first = 0;       // |dW1|
  double second = 0;      // |dW2|
  double difference = 0;  // |dW1 - dW2|
  double cosine = 0;      // of the angle between them; 0 where one is zero
};

// REQUIRES equal in and out.
UpdateComparison compare_low_rank(const LoraModule& first, const LoraModule& second);

// From dense updates of equal size.
UpdateComparison compare_dense(const float* first, const float* second, int64_t count);

}  // namespace umbel
