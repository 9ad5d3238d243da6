// Rows: one step's batch as plain data. A row is one token of one sequence.
//
// Everything is borrowed from the step's owner (engine/runner, or a trainer) and lives for one forward call. Rows of
// one sequence are neighbours in ascending position; sequences of one adapter are neighbours (Segments).
#pragma once

#include <cstdint>
#include <span>

#include "adapters/segments.h"
#include "kernels/api.h"

namespace umbel {

struct Rows {
  std::span<const int32_t> tokens;     // [M] ids
  std::span<const int32_t> positions;  // [M] position in the sequence, for RoPE
  // [M] the length that dynamic RoPE scaling uses for this row (the whole prompt's for a prompt row, p + 1 for a
  // generated one); ignored by other scalings.
  std::span<const int32_t> rope_lengths;
  std::span<const int32_t> kv_slots;   // [M] where K and V of this row are stored
  std::span<const int32_t> key_begin;  // [M] first key this row attends to, without the model's own window applied
  std::span<const int32_t> key_end;    // [M] one past the last key (its own position + 1 for causal attention)
  std::span<const kernels::AttentionSpan> spans;  // one per sequence in the step
  Segments segments;                   // adapters
  std::span<const int32_t> logit_rows;  // ascending rows whose logits are wanted

  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
};

}  // namespace umbel
