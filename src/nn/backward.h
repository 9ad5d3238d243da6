// Backward: what every layer's mirror is given, gathered once per pass; the counterpart of nn/step.h.
#pragma once

#include <cstdint>
#include <span>

#include "adapters/vjp.h"
#include "nn/step.h"

namespace umbel {

// Where the adapters' gradients go: for every target of the model, one entry per segment of the step (or an empty span where
// nothing is trained). Borrowed for the pass.
using TargetGradients = std::span<const std::span<const LinearGrads>>;

struct Backward {
  const Step& step;
  TargetGradients gradients;
};

// The gradient of a layer's output, and where the gradient of its input is written (=).
struct GradientFlow {
  ConstMatrixF dy;
  MatrixF dx;
};

// What bounds the scratch of a pass.
struct BackwardShape {
  int64_t rows = 0;
  int64_t span_rows_max = 0;  // the longest sequence
  int64_t rank_max = 0;
  int64_t terms_max = 0;      // scale terms of one adapter at one target
  int threads = 1;
};

}  // namespace umbel
