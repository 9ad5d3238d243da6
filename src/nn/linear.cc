#include "nn/linear.h"

#include <algorithm>

#include "adapters/apply.h"

namespace umbel {

void linear(const Step& step, int32_t target, ConstMatrixF x, MatrixF y) {
  apply_linear(step.context, step.targets, target, step.rows.segments, x, y);
}

size_t linear_scratch_bytes(const Target& target, int64_t rows, int64_t rank_max) {
  const int64_t expanded = std::max<int64_t>(rows, kExpandedRowsMax);
  return apply_linear_scratch_bytes(rows, target.in, target.out, rank_max) +
         std::max(kernels::matmul_forward_scratch_bytes(expanded, target.in), kernels::low_rank_scratch_bytes(rows));
}

}  // namespace umbel
