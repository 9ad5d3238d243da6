// TargetTable: every module of a loaded model that an adapter may touch, by its Hugging Face path. Filled by models/,
// handed to store/ and adapters/. Immutable after the model is loaded; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/frozen_matrix.h"
#include "tensor/tensor.h"

namespace umbel {

enum class TargetKind : uint8_t { kLinear, kHead, kEmbedding, kNorm };

struct Target {
  std::string path;  // "model.layers.0.self_attn.q_proj", as in the checkpoint without ".weight"
  TargetKind kind = TargetKind::kLinear;
  int64_t in = 0;   // kEmbedding: vocab; kNorm: 0
  int64_t out = 0;  // kEmbedding, kNorm: dim
  // kLinear, kHead: the packed weight; for a tied head the shared one. Null for kNorm and an untied embedding.
  const kernels::FrozenMatrix* weight = nullptr;
  const float* vector = nullptr;  // kLinear, kHead: bias [out] or null. kNorm: gain [out]
  TensorView table;               // kEmbedding, untied: the rows [vocab, dim]
  bool tied = false;              // kHead and kEmbedding of a tied base
};

// Row `index` of a target's weight in f32: of W for a linear layer or head, of the table for an embedding. row: [in],
// for an embedding [out]. REQUIRES a target that has weights.
void read_weight_row(const Target& target, int64_t index, float* row);

class TargetTable {
 public:
  // Returns the new target's index.
  int32_t add(Target target);
  const std::vector<Target>& targets() const { return targets_; }
  const Target& operator[](int32_t index) const { return targets_[index]; }
  int32_t size() const { return static_cast<int32_t>(targets_.size()); }
  // -1 when there is no such module.
  int32_t find(std::string_view path) const;

 private:
  std::vector<Target> targets_;
  std::unordered_map<std::string, int32_t> index_;
};

}  // namespace umbel
