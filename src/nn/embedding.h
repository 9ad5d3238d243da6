// Embedding: token ids to rows of the embedding table, with what adapters change at it.
#pragma once

#include "nn/backward.h"
#include "nn/step.h"

namespace umbel {

// y[i] = row tokens[i] of the table of the kEmbedding target: the base's (its own table, or the tied head's packed
// weight), or the row's adapter's: a table saved whole, plus a low-rank term, or replaced rows. Takes nothing from the
// arena. REQUIRES that every row is in a segment, and every token in [0, vocab) of its row's table.
void embedding_forward(const Step& step, int32_t target, MatrixF y);

// The mirror, in ascending rows: the gradients of an adapter's own table, or of its low-rank term (low_rank[0]: a is [vocab, rank],
// b_t [rank, dim]), += what dy says at its tokens. Nothing flows on from here.
void embedding_backward(const Backward& backward, int32_t target, ConstMatrixF dy);

// y[i] += row positions[i] of the table of the kPosition target, the base's or the row's adapter's own. REQUIRES positions within
// the table: models/config's context_length is no longer.
void positions_forward(const Step& step, int32_t target, MatrixF y);
// Arena bytes that it takes at most.
size_t positions_scratch_bytes(const TargetTable& targets, int32_t target, int64_t rows);
// The mirror: the gradients of adapters' own tables += dy at their positions, in ascending rows.
void positions_backward(const Backward& backward, int32_t target, ConstMatrixF dy);

}  // namespace umbel
