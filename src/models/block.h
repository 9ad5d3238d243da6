// Block: one layer of a decoder as a list of what it has, walked down to serve and up to train.
//
//   sequential:  x += scale post(attention(pre(x)));  x += scale post(mlp(pre(x)))
//   parallel:    x += attention(pre(x)) + mlp(pre'(x)), where pre' is pre when mlp_in is not there
//
// Every norm may be absent. Plain data; the functions are const in it and may be called by any thread with its own state.
#pragma once

#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace umbel {

enum class Residual : uint8_t { kSequential, kParallel };

struct Block {
  Norm attention_in;
  Attention attention;
  Norm attention_out;  // sequential only, as mlp_out
  Norm mlp_in;
  Mlp mlp;
  Norm mlp_out;
  Residual residual = Residual::kSequential;
  float residual_scale = 1;  // sequential only
};

// What one block keeps for its mirror; views into the pass's memory. No data where the block has no such thing.
struct BlockSaved {
  MatrixF input;   // [M, hidden] residual stream before the block
  MatrixF middle;  // [M, hidden] after attention (sequential)
  AttentionSaved attention;
  MlpSaved mlp;
  MatrixF attention_raw;  // [M, hidden] before attention_out
  MatrixF mlp_raw;        // [M, hidden] before mlp_out
};
// The first columns of the cut are the input's.
BlockSaved block_saved(const TargetTable& targets, const Block& block, SavedCut& cut);

// x[M, hidden]: the residual stream, in place. saved: null, or where what block_backward needs is kept.
void block_forward(const Step& step, const Block& block, const kernels::KvLayer& cache, const BlockSaved* saved, MatrixF x);
// From the gradient of the block's output, in dx, to that of its input; that one only where it is wanted.
struct BlockGradient {
  MatrixF dx;
  bool input_wanted = true;
};
void block_backward(const Backward& backward, const Block& block, const BlockSaved& saved, const BlockGradient& gradient);

// Whether anything in the block is trained; whether a norm of its input is.
bool is_trained(const Block& block, TargetGradients gradients);
bool is_input_norm_trained(const Block& block, TargetGradients gradients);

// Arena bytes that block_forward and block_backward take at most. threads 0: of any pool.
size_t block_scratch_bytes(const TargetTable& targets, const Block& block, int64_t rows, int64_t rank_max, int threads = 0);
size_t block_backward_scratch_bytes(const TargetTable& targets, const Block& block, const BackwardShape& shape);

}  // namespace umbel
