#include "nn/mlp.h"

#include <algorithm>

#include "kernels/api_vjp.h"
#include "nn/linear.h"

namespace umbel {
namespace {

// The activation's place in a trace: the projection that it follows.
int32_t activated_target(const Mlp& mlp) { return mlp.gate_up >= 0 ? mlp.gate_up : mlp.up; }

MlpSaved take_buffers(const Step& step, const Mlp& mlp, int64_t rows) {
  const int64_t width = step.targets[mlp.down].in;
  if (mlp.gate_up >= 0) {
    const MatrixF fused = take_matrix(step.context, rows, 2 * width);
    return {.gate = fused.middle_cols(0, width), .up = fused.middle_cols(width, width), .fused = fused};
  }
  MlpSaved buffers{.gate = take_matrix(step.context, rows, width)};
  if (mlp.gated()) buffers.up = take_matrix(step.context, rows, width);
  return buffers;
}

void project(const Step& step, const Mlp& mlp, ConstMatrixF x, const MlpSaved& to) {
  if (mlp.gate_up >= 0) {
    linear(step, mlp.gate_up, x, to.fused);
  } else if (mlp.gate >= 0) {
    linear(step, mlp.gate, x, to.gate);
    linear(step, mlp.up, x, to.up);
  } else {
    linear(step, mlp.up, x, to.gate);
  }
}

void activate(const Step& step, const Mlp& mlp, const MlpSaved& in, MatrixF y) {
  step.note(Op::kActivation, activated_target(mlp));
  kernels::activation(step.context, mlp.activation, {in.gate, in.up}, y);
}

// From the gradients of the projections, in `d`, to that of x.
void project_backward(const Backward& backward, const Mlp& mlp, ConstMatrixF x, const MlpSaved& d, MatrixF dx) {
  if (mlp.gate_up >= 0) return linear_backward(backward, mlp.gate_up, x, {d.fused, dx});
  if (mlp.gate < 0) return linear_backward(backward, mlp.up, x, {d.gate, dx});
  kernels::Context& context = backward.step.context;
  const bool wanted = dx.data != nullptr;
  const MatrixF part = wanted ? take_matrix(context, x.rows, x.cols) : dx;
  linear_backward(backward, mlp.up, x, {d.up, dx});
  linear_backward(backward, mlp.gate, x, {d.gate, part});
  if (wanted) kernels::add(context, part, dx);
}

}  // namespace

MlpSaved mlp_saved(const TargetTable& targets, const Mlp& mlp, SavedCut& cut) {
  const int64_t width = targets[mlp.down].in;
  if (mlp.gate_up >= 0) {
    const MatrixF fused = cut.next(2 * width);
    return {.gate = columns(fused, 0, width), .up = columns(fused, width, width), .fused = fused};
  }
  MlpSaved saved{.gate = cut.next(width)};
  if (mlp.gated()) saved.up = cut.next(width);
  return saved;
}

void mlp_forward(const Step& step, const Mlp& mlp, ConstMatrixF x, MatrixF y) {
  const Arena::Mark mark(step.context.scratch);
  const MlpSaved buffers = take_buffers(step, mlp, x.rows);
  project(step, mlp, x, buffers);
  activate(step, mlp, buffers, buffers.gate);
  linear(step, mlp.down, buffers.gate, y);
}

void mlp_forward_saving(const Step& step, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, MatrixF y) {
  const Arena::Mark mark(step.context.scratch);
  const MatrixF product = take_matrix(step.context, x.rows, saved.gate.cols);
  project(step, mlp, x, saved);
  activate(step, mlp, saved, product);
  linear(step, mlp.down, product, y);
}

void mlp_backward(const Backward& backward, const Mlp& mlp, ConstMatrixF x, const MlpSaved& saved, const GradientFlow& flow) {
  const Step& step = backward.step;
  kernels::Context& context = step.context;
  const Arena::Mark mark(context.scratch);
  const MatrixF product = take_matrix(context, x.rows, saved.gate.cols);
  const MatrixF dproduct = take_matrix(context, x.rows, saved.gate.cols);
  activate(step, mlp, saved, product);  // cheaper to compute again than to keep
  linear_backward(backward, mlp.down, product, {flow.dy, dproduct});
  step.note_mirror(Op::kActivation, activated_target(mlp));
  kernels::activation_vjp(context, mlp.activation, {saved.gate, saved.up}, dproduct, {saved.gate, saved.up});
  project_backward(backward, mlp, x, saved, flow.dx);
}

size_t mlp_backward_scratch_bytes(const TargetTable& targets, const Mlp& mlp, const BackwardShape& shape) {
  size_t inner = 0;
  for (const int32_t target : mlp.targets()) {
    if (target >= 0) inner = std::max(inner, linear_backward_scratch_bytes(targets[target], shape));
  }
  const Target& down = targets[mlp.down];
  return ScratchSum().add(shape.rows * down.in, 2 * sizeof(float)).add(shape.rows * down.out).bytes() + 2 * 64 + inner;
}

size_t mlp_scratch_bytes(const TargetTable& targets, const Mlp& mlp, int64_t rows, int64_t rank_max, int threads) {
  size_t inner = 0;
  for (const int32_t target : mlp.targets()) {
    if (target >= 0) inner = std::max(inner, linear_scratch_bytes(targets[target], rows, rank_max, threads));
  }
  const int64_t width = targets[mlp.down].in;
  return ScratchSum().add(rows * width).add(rows * width).bytes() + inner;
}

}  // namespace umbel
