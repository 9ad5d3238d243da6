// Head: the final norm and the projection to the vocabulary, only for the rows whose logits are wanted.
#pragma once

#include "nn/step.h"

namespace umbel {

// Target indices.
struct Head {
  int32_t norm = -1;
  int32_t projection = -1;
  float norm_epsilon = 0;
};

// logits[i] = projection(norm(x[step.rows.logit_rows[i]])) with the adapter of that row. x[M, hidden].
void head_forward(const Step& step, const Head& head, ConstMatrixF x, MatrixF logits);
// Arena bytes that head_forward takes at most for logit_rows wanted rows of a step with any number of segments.
size_t head_scratch_bytes(const TargetTable& targets, const Head& head, int64_t logit_rows, int64_t rank_max);

}  // namespace umbel
