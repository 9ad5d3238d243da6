// Head: the final norm and the projection to the vocabulary, scaled and capped where the model says so; and its mirror.
#pragma once

#include "nn/norm.h"
#include "nn/step.h"

namespace umbel {

struct Head {
  Norm norm;
  int32_t projection = -1;
  float scale = 1;  // of the logits
  float cap = 0;    // of the scaled logits: cap tanh(z / cap); 0 = none
};

// logits[i] = projection(norm(x[step.rows.logit_rows[i]])) with the adapter of that row. x[M, hidden]. Of logits[i] only the
// row's own vocabulary is written (Adapter::vocabulary, else the projection's); the rest stays as it is.
void head_forward(const Step& step, const Head& head, ConstMatrixF x, MatrixF logits);
// Arena bytes that head_forward takes at most for logit_rows wanted rows of a step with any number of segments.
size_t head_scratch_bytes(const TargetTable& targets, const Head& head, int64_t logit_rows, int64_t rank_max);

// What the mirror needs of a forward over all rows of a step: its input, the normed input, and the logits where they are capped.
struct HeadSaved {
  ConstMatrixF x;
  MatrixF normed;
  MatrixF logits;
};
// The same forward for every row of the step, no adapter having a vocabulary of its own.
void head_forward_saving(const Step& step, const Head& head, const HeadSaved& saved);
// The mirror: dlogits is overwritten on the way where the logits are scaled or capped; dx =.
void head_backward(const Backward& backward, const Head& head, const HeadSaved& saved, MatrixF dlogits, MatrixF dx);
// Arena bytes that the mirror takes at most beside linear_backward's.
size_t head_backward_scratch_bytes(const TargetTable& targets, const Head& head, int64_t rows);

}  // namespace umbel
