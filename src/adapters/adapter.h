// Adapter: one adapter resident in memory, ready to compute: terms per target, and the storage they point into.
//
// Built by a kind (adapters/registry.h) from a parsed PEFT folder; immutable afterwards; shared between threads as
// shared_ptr<const Adapter>.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "adapters/targets.h"
#include "adapters/term.h"
#include "tensor/tensor.h"

namespace umbel {

// What loading an adapter found out; for people (inspect, logs), never for the step.
struct AdapterReport {
  std::string kind;              // "lora", "flora", ... as in the registry
  int32_t targets_declared = 0;  // modules that the configuration selects
  int32_t targets_applied = 0;   // of these, with terms made from the file's tensors
  int32_t modules_saved = 0;     // modules stored whole
  int32_t tensors = 0;           // tensors of the file, all used
  std::vector<std::string> warnings;

  std::string coverage() const;  // "applied 84 of 84 targets"
};

class Adapter {
 public:
  explicit Adapter(int32_t targets) : linear_index_(targets, -1), norm_gain_(targets, nullptr), norm_bias_(targets, nullptr) {}

  // Null when this adapter leaves the target as the base has it.
  const LinearTerms* linear(int32_t target) const {
    return linear_index_[target] < 0 ? nullptr : &linear_terms_[linear_index_[target]];
  }
  const EmbeddingTerms* embedding() const { return has_embedding_ ? &embedding_ : nullptr; }
  const float* norm_gain(int32_t target) const { return norm_gain_[target]; }
  const float* norm_bias(int32_t target) const { return norm_bias_[target]; }
  // [positions, dim] f32 in place of the base's table of positions.
  const float* positions() const { return positions_; }

  // Scheduler weight of one row: the largest number of scale terms at any target, at least 1 (FLoRA of rank r: r).
  int32_t cost() const { return cost_; }
  size_t bytes() const { return bytes_; }
  // Tokens that its rows read and produce: ids below this. 0 = as many as the base has.
  int64_t vocabulary() const { return vocabulary_; }
  // Largest sum of low-rank ranks at any target (for apply_linear_scratch_bytes).
  int32_t rank_max() const { return rank_max_; }
  const AdapterReport& report() const { return report_; }

  // Building (one thread, before it is shared).
  LinearTerms& add_linear(int32_t target);
  // The target's terms, made empty when it has none. The reference lives until the next call of either.
  LinearTerms& edit_linear(int32_t target);
  EmbeddingTerms& add_embedding();
  void set_vocabulary(int64_t tokens) { vocabulary_ = tokens; }
  void set_norm_gain(int32_t target, const float* gain) { norm_gain_[target] = gain; }
  void set_norm_bias(int32_t target, const float* bias) { norm_bias_[target] = bias; }
  void set_positions(const float* table) { positions_ = table; }
  // Keeps the tensor alive as long as the adapter; returns its data.
  float* keep_f32(Tensor tensor);
  const void* keep(Tensor tensor);
  const kernels::FrozenMatrix* keep(kernels::FrozenMatrix matrix);
  // Keeps something shared with other adapters (VeRA projections) alive. Its bytes count for each of its users, so that
  // a budget is never exceeded.
  void keep_shared(std::shared_ptr<const void> shared, size_t bytes = 0) {
    shared_.push_back(std::move(shared));
    bytes_ += bytes;
  }
  AdapterReport& edit_report() { return report_; }
  // Computes cost and bytes; call last.
  void finish();

 private:
  std::vector<int32_t> linear_index_;
  std::vector<LinearTerms> linear_terms_;
  EmbeddingTerms embedding_;
  bool has_embedding_ = false;
  std::vector<const float*> norm_gain_, norm_bias_;
  const float* positions_ = nullptr;
  std::vector<Tensor> tensors_;
  std::vector<std::unique_ptr<kernels::FrozenMatrix>> matrices_;
  std::vector<std::shared_ptr<const void>> shared_;
  AdapterReport report_;
  int32_t cost_ = 1;
  int32_t rank_max_ = 0;
  int64_t vocabulary_ = 0;
  size_t bytes_ = 0;
};

}  // namespace umbel
