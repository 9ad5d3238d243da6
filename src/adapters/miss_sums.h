// The frozen side of MiSS as a low-rank factor: A [rank, in] with A[j, i] = 1 where i mod rank = j, else 0. A x sums the blocks
// of `rank` inputs that x falls into; a last block that is shorter counts as filled up with zeros, as in PEFT.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace umbel {

Tensor miss_sums(int64_t rank, int64_t in);

}  // namespace umbel
