// Bounds: may this adapter's arithmetic leave what f32 can hold? An adapter of finite but absurd weights (3e38) would answer with
// infinities, in attention's squares first; it is refused when it is built, by the module's name.
#pragma once

#include "adapters/adapter.h"
#include "base/status.h"

namespace umbel {

// Of one value in a file: a real weight, gain or bias stays many powers of ten below it.
inline constexpr float kAdapterValueMax = 1e12f;
// How much a module's terms may enlarge an input, at most: |delta_i| over max |x|. Queries and keys made of inputs of thousands still
// multiply within f32 then.
inline constexpr double kAdapterGrowthMax = 1e14;

// kDataLoss naming the module whose terms may enlarge an input by more than kAdapterGrowthMax (an upper bound from sums of
// magnitudes). Cost: one look at every value.
Status check_growth(const Adapter& adapter, const TargetTable& targets);

}  // namespace umbel
