#include "models/block.h"

#include <algorithm>

namespace umbel {
namespace {

void copy(ConstMatrixF x, MatrixF y) { std::copy_n(x.data, x.rows * x.cols, y.data); }

// What a branch reads: the norm of x in `normed`, or x itself.
ConstMatrixF branch_input(const Step& step, const Norm& before, ConstMatrixF x, MatrixF normed) {
  if (!before.present()) return x;
  norm(step, before, x, normed);
  return normed;
}

// The residual stream, and where a branch's output is kept before its norm (no data: nowhere).
struct Stream {
  MatrixF x;
  MatrixF raw = {};
};

// x += scale after(change).
void add_branch(const Step& step, const Norm& after, float scale, MatrixF change, const Stream& stream) {
  const auto& [x, raw] = stream;
  if (after.present()) {
    if (raw.data != nullptr) copy(change, raw);
    norm(step, after, change, change);
  }
  if (scale != 1) kernels::multiply(step.context, scale, change);
  kernels::add(step.context, change, x);
}

// The gradient of a branch's output: dx itself, or in `scratch` what its scale and norm make of it.
ConstMatrixF branch_gradient(const Backward& backward, const Norm& after, float scale, ConstMatrixF raw, const Flow& dx_and_scratch) {
  const auto& [dx, scratch] = dx_and_scratch;
  if (!after.present() && scale == 1) return dx;
  copy(dx, scratch);
  if (scale != 1) kernels::multiply(backward.step.context, scale, scratch);
  if (after.present()) norm_backward(backward, after, raw, {scratch, scratch}, kernels::Write::kOverwrite);
  return scratch;
}

// dx += the gradient of a branch's input, through the norm before it.
void add_input_gradient(const Backward& backward, const Norm& before, ConstMatrixF x, const GradientFlow& flow) {
  if (before.present()) return norm_backward(backward, before, x, flow);
  kernels::add(backward.step.context, flow.dy, flow.dx);
}

bool is_target_trained(TargetGradients gradients, int32_t target) { return target >= 0 && !gradients[target].empty(); }

void parallel_forward(const Step& step, const Block& block, const kernels::KvLayer& cache, const BlockSaved* saved, MatrixF x) {
  const MatrixF normed = take_matrix(step.context, x.rows, x.cols);
  const MatrixF change = take_matrix(step.context, x.rows, x.cols);
  const MatrixF second = take_matrix(step.context, x.rows, x.cols);
  ConstMatrixF in = branch_input(step, block.attention_in, x, normed);
  if (saved != nullptr) {
    attention_forward_saving(step, block.attention, cache, saved->attention, {in, change});
  } else {
    attention_forward(step, block.attention, cache, in, change);
  }
  if (block.mlp_in.present()) in = branch_input(step, block.mlp_in, x, normed);
  if (saved != nullptr) {
    mlp_forward_saving(step, block.mlp, in, saved->mlp, second);
  } else {
    mlp_forward(step, block.mlp, in, second);
  }
  kernels::add(step.context, change, x);
  kernels::add(step.context, second, x);
}

void sequential_forward(const Step& step, const Block& block, const kernels::KvLayer& cache, const BlockSaved* saved, MatrixF x) {
  const MatrixF normed = take_matrix(step.context, x.rows, x.cols);
  const MatrixF change = take_matrix(step.context, x.rows, x.cols);
  ConstMatrixF in = branch_input(step, block.attention_in, x, normed);
  if (saved != nullptr) {
    attention_forward_saving(step, block.attention, cache, saved->attention, {in, change});
  } else {
    attention_forward(step, block.attention, cache, in, change);
  }
  add_branch(step, block.attention_out, block.residual_scale, change, {x, saved != nullptr ? saved->attention_raw : MatrixF()});

  if (saved != nullptr) copy(x, saved->middle);
  in = branch_input(step, block.mlp_in, x, normed);
  if (saved != nullptr) {
    mlp_forward_saving(step, block.mlp, in, saved->mlp, change);
  } else {
    mlp_forward(step, block.mlp, in, change);
  }
  add_branch(step, block.mlp_out, block.residual_scale, change, {x, saved != nullptr ? saved->mlp_raw : MatrixF()});
}

void sequential_backward(const Backward& backward, const Block& block, const BlockSaved& saved, const BlockGradient& gradient) {
  const Step& step = backward.step;
  const MatrixF dx = gradient.dx;
  const MatrixF normed = take_matrix(step.context, dx.rows, dx.cols);
  const MatrixF dnormed = take_matrix(step.context, dx.rows, dx.cols);
  const MatrixF dchange = take_matrix(step.context, dx.rows, dx.cols);

  ConstMatrixF in = branch_input(step, block.mlp_in, saved.middle, normed);
  ConstMatrixF dy = branch_gradient(backward, block.mlp_out, block.residual_scale, saved.mlp_raw, {dx, dchange});
  mlp_backward(backward, block.mlp, in, saved.mlp, {dy, dnormed});
  add_input_gradient(backward, block.mlp_in, saved.middle, {dnormed, dx});

  in = branch_input(step, block.attention_in, saved.input, normed);
  dy = branch_gradient(backward, block.attention_out, block.residual_scale, saved.attention_raw, {dx, dchange});
  attention_backward(backward, block.attention, in, saved.attention, {dy, gradient.input_wanted ? dnormed : MatrixF(nullptr, 0, 0)});
  if (gradient.input_wanted) add_input_gradient(backward, block.attention_in, saved.input, {dnormed, dx});
}

void parallel_backward(const Backward& backward, const Block& block, const BlockSaved& saved, const BlockGradient& gradient) {
  const Step& step = backward.step;
  const MatrixF dx = gradient.dx;
  const MatrixF normed = take_matrix(step.context, dx.rows, dx.cols);
  const MatrixF first = take_matrix(step.context, dx.rows, dx.cols);   // the feed-forward's part of the input's gradient
  const MatrixF second = take_matrix(step.context, dx.rows, dx.cols);  // attention's
  const MatrixF none(nullptr, 0, 0);
  const bool wanted = gradient.input_wanted, two_norms = block.mlp_in.present();

  ConstMatrixF in = branch_input(step, two_norms ? block.mlp_in : block.attention_in, saved.input, normed);
  mlp_backward(backward, block.mlp, in, saved.mlp, {dx, wanted ? first : none});
  if (two_norms && wanted) norm_backward(backward, block.mlp_in, saved.input, {first, first}, kernels::Write::kOverwrite);
  if (two_norms) in = branch_input(step, block.attention_in, saved.input, normed);
  attention_backward(backward, block.attention, in, saved.attention, {dx, wanted ? second : none});
  if (!wanted) return;
  if (!two_norms) kernels::add(step.context, first, second);
  add_input_gradient(backward, block.attention_in, saved.input, {second, dx});
  if (two_norms) kernels::add(step.context, first, dx);
}

}  // namespace

BlockSaved block_saved(const TargetTable& targets, const Block& block, SavedCut& cut) {
  const int64_t hidden = targets[block.attention.o].out;
  BlockSaved s{.input = cut.next(hidden)};
  if (block.residual == Residual::kSequential) s.middle = cut.next(hidden);
  s.attention = attention_saved(block.attention, cut);
  s.mlp = mlp_saved(targets, block.mlp, cut);
  if (block.attention_out.present()) s.attention_raw = cut.next(hidden);
  if (block.mlp_out.present()) s.mlp_raw = cut.next(hidden);
  return s;
}

void block_forward(const Step& step, const Block& block, const kernels::KvLayer& cache, const BlockSaved* saved, MatrixF x) {
  const Arena::Mark mark(step.context.scratch);
  if (saved != nullptr) copy(x, saved->input);
  const auto forward = block.residual == Residual::kParallel ? parallel_forward : sequential_forward;
  forward(step, block, cache, saved, x);
}

void block_backward(const Backward& backward, const Block& block, const BlockSaved& saved, const BlockGradient& gradient) {
  const Arena::Mark mark(backward.step.context.scratch);
  const auto mirror = block.residual == Residual::kParallel ? parallel_backward : sequential_backward;
  mirror(backward, block, saved, gradient);
}

bool is_input_norm_trained(const Block& block, TargetGradients gradients) {
  return is_target_trained(gradients, block.attention_in.target) ||
         (block.residual == Residual::kParallel && is_target_trained(gradients, block.mlp_in.target));
}

bool is_trained(const Block& block, TargetGradients gradients) {
  const auto trained = [&](int32_t target) { return is_target_trained(gradients, target); };
  const std::array<int32_t, 4> norms = {block.attention_in.target, block.attention_out.target, block.mlp_in.target, block.mlp_out.target};
  const auto attention = block.attention.targets();
  const auto mlp = block.mlp.targets();
  return std::any_of(norms.begin(), norms.end(), trained) || std::any_of(attention.begin(), attention.end(), trained) ||
         std::any_of(mlp.begin(), mlp.end(), trained);
}

size_t block_scratch_bytes(const TargetTable& targets, const Block& block, int64_t rows, int64_t rank_max, int threads) {
  const int64_t hidden = targets[block.attention.o].out;
  const size_t inner = std::max({norm_scratch_bytes(rows, 1), attention_scratch_bytes(targets, block.attention, rows, rank_max, threads),
                                 mlp_scratch_bytes(targets, block.mlp, rows, rank_max, threads)});
  const size_t held = ScratchSum().add(rows * hidden).bytes();
  return (block.residual == Residual::kParallel ? 3 : 2) * held + inner;
}

size_t block_backward_scratch_bytes(const TargetTable& targets, const Block& block, const BackwardShape& shape) {
  const int64_t hidden = targets[block.attention.o].out;
  const size_t inner = std::max({norm_backward_scratch_bytes(shape.rows, 1), attention_backward_scratch_bytes(targets, block.attention, shape),
                                 mlp_backward_scratch_bytes(targets, block.mlp, shape)});
  return 3 * ScratchSum().add(shape.rows * hidden).bytes() + inner;
}

}  // namespace umbel
