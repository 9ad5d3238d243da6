#include "nn/mlp.h"

#include <algorithm>

#include "nn/linear.h"

namespace umbel {

void mlp_forward(const Step& step, const Mlp& mlp, ConstMatrixF x, MatrixF y) {
  const Arena::Mark mark(step.context.scratch);
  const int64_t width = step.targets[mlp.gate].out;
  const MatrixF gate = take_matrix(step.context, x.rows, width);
  const MatrixF up = take_matrix(step.context, x.rows, width);
  linear(step, mlp.gate, x, gate);
  linear(step, mlp.up, x, up);
  kernels::swiglu(step.context, gate, up, gate);
  linear(step, mlp.down, gate, y);
}

size_t mlp_scratch_bytes(const TargetTable& targets, const Mlp& mlp, int64_t rows, int64_t rank_max) {
  size_t inner = 0;
  for (const int32_t target : {mlp.gate, mlp.up, mlp.down}) {
    inner = std::max(inner, linear_scratch_bytes(targets[target], rows, rank_max));
  }
  const int64_t width = targets[mlp.gate].out;
  return ScratchSum().add(rows * width).add(rows * width).bytes() + inner;
}

}  // namespace umbel
