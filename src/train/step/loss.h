// Loss: cross-entropy of the trained rows, in chunks that never hold all logits, with its gradient of the residual stream.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/backward.h"
#include "train/step/batch_rows.h"

namespace umbel::train {

struct LossCall {
  const Model& model;
  const Head& head;
  const BatchRows& batch;
  std::span<const double> weight_of_job;  // what one row's loss counts for, by job: 1 / trained tokens of its optimizer step
  TargetGradients gradients;              // of the step's segments
  std::span<int32_t> argmax;              // by loss row: the most likely next token (the lowest of equals); empty = not wanted
};

// x[M, hidden]: the residual stream after the last layer. dx[M, hidden] (=; data null = evaluation only) gets the gradient.
// loss_of_job[job] += sum of the unweighted losses of its rows, in ascending rows, in double.
void cross_entropy_loss(kernels::Context& context, const LossCall& call, ConstMatrixF x, MatrixF dx, std::span<double> loss_of_job);

// Arena bytes that it takes at most. head_terms: some adapter has terms at the head.
size_t loss_scratch_bytes(const Model& model, const Head& head, const BackwardShape& shape, bool head_terms);

}  // namespace umbel::train
