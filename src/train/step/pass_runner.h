// PassRunner: examples through forward, loss and backward, in passes of bounded rows, in memory that it is lent.
//
// One thread at a time each. Runners with pools of their own work side by side, as long as no job is in two of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/kv_cache.h"
#include "train/kinds/trainable.h"
#include "train/step/batch_rows.h"

namespace umbel::train {

// An example, and whose it is.
struct PassItem {
  const data::Example* example;
  int32_t job;
  uint64_t dropout_key = 0;  // of its place in the job's step; 0 = nothing is dropped

  int64_t rows() const { return static_cast<int64_t>(example->tokens.size()) - 1; }  // the last token is only predicted
};

enum class Looked : uint8_t { kAdapter, kBase };

// What the passes of one step or evaluation share.
struct PassSums {
  std::span<TrainableAdapter* const> adapters;  // by job
  std::span<const double> weights;              // by job: see LossCall
  std::span<double> losses;                     // by job, +=
  std::vector<int32_t>* argmax = nullptr;       // of every trained row, appended; null = not wanted
  bool backward = false;
  Looked looked = Looked::kAdapter;  // kBase: rows run without their adapters; not with backward
};

// The largest pass of a runner.
struct PassExtent {
  int64_t rows = 0;
  int64_t longest = 1;        // rows of one example
  double blocks_per_row = 0;  // KV blocks, at most
  int64_t rank_max = 0, terms_max = 0;
  bool head_terms = false;
  int threads = 1;

  bool operator==(const PassExtent&) const = default;
};

// What it takes, in bytes.
struct PassBytes {
  size_t activations = 0;  // kept for the backward pass, and the residual stream with its gradient
  size_t scratch = 0;
  size_t kv = 0;           // a runner's own, not lent

  // What a runner must be lent: its parts begin at cache lines of 64 bytes.
  size_t lent() const { return (activations + scratch) / 64 * 64 + 5 * 64; }
};

class PassRunner {
 public:
  struct Setup {
    const Model& model;
    const Training& training;
    kernels::Choice choice;
    Keep keep = Keep::kAll;
  };
  static PassBytes bytes(const Setup& setup, const PassExtent& extent);

  // Everything outlives it. memory: bytes(setup, extent).lent() of them, 64-byte aligned.
  PassRunner(const Setup& setup, ThreadPool& pool, const PassExtent& extent, std::span<std::byte> memory);

  ThreadPool& pool() const { return pool_; }
  // Items of one job stand together.
  void run(std::span<const PassItem> items, const PassSums& sums);

 private:
  void run_pass(const PassSums& sums);
  void fill_gradients(const PassSums& sums);

  Setup setup_;
  ThreadPool& pool_;
  int64_t rows_max_;
  Arena memory_;
  std::span<float> saved_, x_, dx_;
  Arena scratch_;
  KvCache kv_;
  BatchRows batch_;
  std::vector<std::vector<LinearGrads>> gradients_;  // [target][segment]
  std::vector<std::span<const LinearGrads>> gradient_spans_;
};

}  // namespace umbel::train
