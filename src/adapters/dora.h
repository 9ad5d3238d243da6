// DoRA's norms (Liu et al. 2024, section 4.3): those of the rows of the adapted weight.
#pragma once

#include <span>

#include "adapters/targets.h"
#include "adapters/term.h"
#include "base/threads.h"

namespace umbel {

// norms[o] = || W_o + scale * sum_j B[o, j] A_j || with the term's factors as they are resident (rounded in 16-bit modes).
// A row is formed in f32, its norm in double, as PEFT's get_weight_norm does up to the order of its sums. norms: [out].
// pool: shares the rows; null = this thread alone. The same bits either way.
void dora_row_norms(const Target& target, const LowRankTerm& term, std::span<float> norms, ThreadPool* pool = nullptr);

}  // namespace umbel
