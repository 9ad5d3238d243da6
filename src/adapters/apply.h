// Forward of the algebra over segments: what one linear layer computes for a batch of rows of any mix of adapters.
#pragma once

#include "adapters/segments.h"
#include "adapters/targets.h"
#include "kernels/api.h"

namespace umbel {

// Expanded rows (scale terms) are computed in blocks of at most this many, to bound scratch memory.
inline constexpr int32_t kExpandedRowsMax = 512;

// y[M, out] = the algebra of target `index` for every row of x[M, in]; bias included. Batch invariant. out: the target's; or,
// where all rows have adapters with weights of their own there, those weights' (one number for all).
void apply_linear(kernels::Context& context, const TargetTable& targets, int32_t index, Segments segments,
                  ConstMatrixF x, MatrixF y);

// Scratch bytes that apply_linear takes from context.scratch at most, for rows x (in, out) and the given rank sum.
// threads 0: of any pool.
size_t apply_linear_scratch_bytes(int64_t rows, int64_t in, int64_t out, int64_t rank_max, int threads = 0);

}  // namespace umbel
