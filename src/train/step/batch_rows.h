// BatchRows: several jobs' examples laid out as the Rows of one training pass: whole sequences, ragged, no padding; sequences
// of one job are neighbours. Reused from pass to pass.
#pragma once

#include <cstdint>
#include <vector>

#include "data/example.h"
#include "nn/rows.h"

namespace umbel::train {

// A row whose prediction of the next token is trained.
struct LossRow {
  int32_t row;
  int32_t label;
  int32_t job;
};

class BatchRows {
 public:
  void clear();
  // REQUIRES: calls of one job stand together; the example has at least two tokens. dropout_key: of this example in this
  // step; its rows' masks follow from it and their position alone (adapters/dropout.h). 0 = no dropout, for all of a job.
  void append(const data::Example& example, int32_t job, const Adapter* adapter, uint64_t dropout_key = 0);
  // Also lays out the KV blocks; after the last append, before rows().
  void finish();

  Rows rows() const;
  int64_t count() const { return static_cast<int64_t>(tokens_.size()); }
  int32_t blocks() const { return blocks_used_; }
  int64_t span_rows_max() const { return span_rows_max_; }
  const std::vector<LossRow>& loss_rows() const { return loss_rows_; }  // ascending rows
  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<int32_t>& segment_jobs() const { return segment_jobs_; }

  static int32_t blocks_of(int64_t tokens);

 private:
  std::vector<int32_t> tokens_, positions_, lengths_, slots_, key_begin_, key_end_, block_table_;
  std::vector<kernels::AttentionSpan> spans_;
  std::vector<Segment> segments_;
  std::vector<int32_t> segment_jobs_;
  std::vector<int32_t> example_rows_;   // where every example begins, and the end of the last
  std::vector<size_t> segment_examples_;  // index of every segment's first example
  std::vector<uint64_t> dropout_keys_;  // [M], 0 where nothing is dropped
  std::vector<LossRow> loss_rows_;
  int32_t blocks_used_ = 0;
  int64_t span_rows_max_ = 0;
};

}  // namespace umbel::train
