#include "nn/mlp.h"

#include <algorithm>

#include "kernels/api_vjp.h"
#include "nn/linear.h"

namespace umbel {

void mlp_forward(const Step& step, const Mlp& mlp, ConstMatrixF x, MatrixF y) {
  const Arena::Mark mark(step.context.scratch);
  const int64_t width = step.targets[mlp.gate].out;
  const MatrixF gate = take_matrix(step.context, x.rows, width);
  const MatrixF up = take_matrix(step.context, x.rows, width);
  linear(step, mlp.gate, x, gate);
  linear(step, mlp.up, x, up);
  step.note(Op::kSwiglu, mlp.up);
  kernels::swiglu(step.context, gate, up, gate);
  linear(step, mlp.down, gate, y);
}

void mlp_forward_saving(const Step& step, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, MatrixF y) {
  const Arena::Mark mark(step.context.scratch);
  const MatrixF product = take_matrix(step.context, x.rows, saved.gate.cols);
  linear(step, mlp.gate, x, saved.gate);
  linear(step, mlp.up, x, saved.up);
  step.note(Op::kSwiglu, mlp.up);
  kernels::swiglu(step.context, saved.gate, saved.up, product);
  linear(step, mlp.down, product, y);
}

void mlp_backward(const Backward& backward, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, const GradientFlow& flow) {
  const Step& step = backward.step;
  kernels::Context& context = step.context;
  const Arena::Mark mark(context.scratch);
  const MatrixF product = take_matrix(context, x.rows, saved.gate.cols);
  const MatrixF dproduct = take_matrix(context, x.rows, saved.gate.cols);
  const MatrixF part = take_matrix(context, x.rows, x.cols);
  step.note(Op::kSwiglu, mlp.up);
  kernels::swiglu(context, saved.gate, saved.up, product);  // cheaper to compute again than to keep
  linear_backward(backward, mlp.down, product, {flow.dy, dproduct});
  step.note_mirror(Op::kSwiglu, mlp.up);
  kernels::swiglu_vjp(context, saved.gate, saved.up, dproduct, saved.gate, saved.up);
  linear_backward(backward, mlp.up, x, {saved.up, flow.dx});
  linear_backward(backward, mlp.gate, x, {saved.gate, part});
  kernels::add(context, part, flow.dx);
}

size_t mlp_backward_scratch_bytes(const TargetTable& targets, const Mlp& mlp, const BackwardShape& shape) {
  size_t inner = 0;
  for (const int32_t target : {mlp.gate, mlp.up, mlp.down}) {
    inner = std::max(inner, linear_backward_scratch_bytes(targets[target], shape));
  }
  const Target& gate = targets[mlp.gate];
  return ScratchSum().add(shape.rows * gate.out, 2 * sizeof(float)).add(shape.rows * gate.in).bytes() + 2 * 64 + inner;
}

size_t mlp_scratch_bytes(const TargetTable& targets, const Mlp& mlp, int64_t rows, int64_t rank_max, int threads) {
  size_t inner = 0;
  for (const int32_t target : {mlp.gate, mlp.up, mlp.down}) {
    inner = std::max(inner, linear_scratch_bytes(targets[target], rows, rank_max, threads));
  }
  const int64_t width = targets[mlp.gate].out;
  return ScratchSum().add(rows * width).add(rows * width).bytes() + inner;
}

}  // namespace umbel
