// Training: the same forward as Model's with what its mirror needs kept, and the mirror (hand-derived, op by op).
//
// Const like the model it belongs to; every call is given its own state.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/api.h"
#include "nn/backward.h"
#include "nn/head.h"
#include "nn/kv_cache.h"
#include "nn/rows.h"

namespace umbel {

// How a pass trades memory for time: every activation that the mirror reads, or only each layer's input, from which the mirror
// computes the others again (one more forward; the same bits).
enum class Keep : uint8_t { kAll, kLayerInputs };

// One training pass. All borrowed for its duration.
struct TrainPass {
  const Rows& rows;           // logit_rows is not used
  const KvCache& kv;          // of one layer: layers use it one after another
  std::span<float> saved;     // saved_floats(M, keep), written by forward_saving, used up by backward
  TargetGradients gradients;  // only read by backward
  Keep keep = Keep::kAll;
  OpTrace* trace = nullptr;  // nn/trace.h
};

class Training {
 public:
  virtual ~Training() = default;

  // Floats that forward_saving keeps for M rows.
  virtual size_t saved_floats(int64_t rows, Keep keep) const = 0;
  // Every sequence is whole: its rows stand in order from position 0. x[M, hidden] gets the residual stream after the last
  // layer, before the final norm.
  virtual void forward_saving(kernels::Context& context, const TrainPass& pass, MatrixF x) const = 0;
  // dx[M, hidden]: the gradient of forward_saving's x on entry; overwritten on the way. Adapters' gradients +=.
  // Layers below the lowest one with something to train are not walked, and that one only as far as its attention's projections.
  virtual void backward(kernels::Context& context, const TrainPass& pass, MatrixF dx) const = 0;
  // Arena bytes that either takes at most.
  virtual size_t scratch_bytes(const BackwardShape& shape) const = 0;
  // The final norm and the projection, for the loss.
  virtual const Head& head() const = 0;
};

}  // namespace umbel
