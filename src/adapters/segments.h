// Segments: the rows of one step grouped by adapter, made once per step and shared by all layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "adapters/adapter.h"

namespace umbel {

// Rows [row_begin, row_begin + row_count) use this adapter; null = the base alone. The adapter outlives the step.
struct Segment {
  int32_t row_begin = 0;
  int32_t row_count = 0;
  const Adapter* adapter = nullptr;
  // [row_count] keys of the rows' dropout masks (adapters/dropout.h); null = nothing is dropped (serving, evaluation).
  const uint64_t* dropout_keys = nullptr;
  // Training: example e of the segment is the rows [examples[e], examples[e + 1]) of the step; the first entry is row_begin, the
  // last row_begin + row_count. Two or more scale terms are then computed as one modulated product (kernels::matmul_modulated):
  // the adapter's many rows pay for it. Empty (serving, the head): one product per term, which single rows can share with others.
  std::span<const int32_t> examples = {};
};

// Non-empty segments in row order that cover all rows without gaps.
using Segments = std::span<const Segment>;

}  // namespace umbel
