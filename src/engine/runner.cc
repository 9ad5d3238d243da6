#include "engine/runner.h"

#include <algorithm>

#include "base/check.h"

namespace umbel {

int32_t step_rows_max(const Limits& limits) { return limits.step_tokens_max; }

int32_t step_logit_rows_max(const Limits& limits) {
  return std::min(step_rows_max(limits), limits.sequences_max + limits.prompt_logprob_rows_max);
}

Batch::Batch(const Limits& limits) {
  const size_t rows = step_rows_max(limits);
  for (auto* ids : {&tokens_, &positions_, &rope_lengths_, &kv_slots_, &key_begin_, &key_end_, &logit_rows_}) {
    ids->reserve(rows);
  }
  spans_.reserve(limits.sequences_max);
  segments_.reserve(limits.sequences_max);
}

const Rows& Batch::build(const Plan& plan) {
  for (auto* ids : {&tokens_, &positions_, &rope_lengths_, &kv_slots_, &key_begin_, &key_end_, &logit_rows_}) ids->clear();
  spans_.clear();
  segments_.clear();
  for (const PlanEntry& entry : plan.entries) append(entry);
  rows_ = {.tokens = tokens_,
           .positions = positions_,
           .rope_lengths = rope_lengths_,
           .kv_slots = kv_slots_,
           .key_begin = key_begin_,
           .key_end = key_end_,
           .spans = spans_,
           .segments = segments_,
           .logit_rows = logit_rows_};
  return rows_;
}

void Batch::append(const PlanEntry& entry) {
  constexpr int32_t kBlock = kernels::kKvBlockSize;
  const int32_t first = static_cast<int32_t>(tokens_.size());
  const int32_t count = entry.rows();
  CHECK(first + count <= static_cast<int32_t>(tokens_.capacity()), "a step has more rows than its limits allow");
  for (int32_t row = 0; row < count; ++row) {
    const int32_t position = entry.position + row;
    tokens_.push_back(entry.tokens[row]);
    positions_.push_back(position);
    rope_lengths_.push_back(position < entry.prompt_tokens ? entry.prompt_tokens : position + 1);
    kv_slots_.push_back(entry.blocks[position / kBlock] * kBlock + position % kBlock);
    key_begin_.push_back(0);
    key_end_.push_back(position + 1);
    if (row >= count - entry.logit_rows) logit_rows_.push_back(first + row);
  }
  spans_.push_back({.row_begin = first, .row_count = count, .blocks = entry.blocks});
  if (segments_.empty() || segments_.back().adapter != entry.adapter) {
    segments_.push_back({.row_begin = first, .row_count = 0, .adapter = entry.adapter});
  }
  segments_.back().row_count += count;
}

}  // namespace umbel
