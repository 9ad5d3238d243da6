#include "train/step/batch_rows.h"

#include <algorithm>

#include "base/random.h"

namespace umbel::train {

int32_t BatchRows::blocks_of(int64_t tokens) {
  return static_cast<int32_t>((tokens + kernels::kKvBlockSize - 1) / kernels::kKvBlockSize);
}

void BatchRows::clear() {
  for (auto* list : {&tokens_, &positions_, &lengths_, &slots_, &key_begin_, &key_end_, &block_table_, &segment_jobs_}) list->clear();
  spans_.clear();
  segments_.clear();
  example_rows_.clear();
  segment_examples_.clear();
  loss_rows_.clear();
  dropout_keys_.clear();
  blocks_used_ = 0;
  span_rows_max_ = 0;
}

void BatchRows::append(const data::Example& example, int32_t job, const Adapter* adapter, uint64_t dropout_key) {
  const auto begin = static_cast<int32_t>(tokens_.size());
  const auto count = static_cast<int32_t>(example.tokens.size()) - 1;  // the last token is only predicted
  CHECK(count >= 1, "an example has something to predict from");
  for (int32_t p = 0; p < count; ++p) {
    tokens_.push_back(example.tokens[p]);
    positions_.push_back(p);
    lengths_.push_back(count + 1);  // of the whole example: what longrope looks at
    slots_.push_back(blocks_used_ * kernels::kKvBlockSize + p);
    key_begin_.push_back(0);
    key_end_.push_back(p + 1);
    dropout_keys_.push_back(dropout_key == 0 ? 0 : mix_key({dropout_key, static_cast<uint64_t>(p)}));
    if (example.trained[p + 1]) loss_rows_.push_back({begin + p, example.tokens[p + 1], job});
  }
  example_rows_.push_back(begin);
  spans_.push_back({begin, count, nullptr});
  blocks_used_ += blocks_of(count);
  span_rows_max_ = std::max<int64_t>(span_rows_max_, count);
  if (segment_jobs_.empty() || segment_jobs_.back() != job) {
    segments_.push_back({begin, count, adapter});
    segment_jobs_.push_back(job);
    segment_examples_.push_back(example_rows_.size() - 1);
  } else {
    segments_.back().row_count += count;
  }
}

void BatchRows::finish() {
  block_table_.resize(blocks_used_);
  for (int32_t i = 0; i < blocks_used_; ++i) block_table_[i] = i;
  int32_t next = 0;
  for (kernels::AttentionSpan& span : spans_) {
    span.blocks = block_table_.data() + next;
    next += blocks_of(span.row_count);
  }
  example_rows_.push_back(static_cast<int32_t>(count()));
  for (size_t s = 0; s < segments_.size(); ++s) {
    Segment& segment = segments_[s];
    const uint64_t* keys = dropout_keys_.data() + segment.row_begin;
    segment.dropout_keys = keys[0] == 0 ? nullptr : keys;
    const size_t first = segment_examples_[s];
    const size_t last = s + 1 < segments_.size() ? segment_examples_[s + 1] : example_rows_.size() - 1;
    segment.examples = std::span<const int32_t>(example_rows_).subspan(first, last - first + 1);
  }
}

Rows BatchRows::rows() const {
  return {.tokens = tokens_, .positions = positions_, .rope_lengths = lengths_, .kv_slots = slots_, .key_begin = key_begin_,
          .key_end = key_end_, .spans = spans_, .segments = segments_};
}

}  // namespace umbel::train
