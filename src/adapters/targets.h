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

// kPosition: a table of learned positions.
enum class TargetKind : uint8_t { kLinear, kHead, kEmbedding, kNorm, kPosition };

struct Target {
  std::string path;  // "model.layers.0.self_attn.q_proj", as in the checkpoint without ".weight"
  TargetKind kind = TargetKind::kLinear;
  int64_t in = 0;   // kEmbedding: vocab; kPosition: positions; kNorm: 0
  int64_t out = 0;  // kEmbedding, kPosition, kNorm: dim
  // kLinear, kHead: the packed weight; for a tied head the shared one. Null for kNorm and an untied embedding.
  const kernels::FrozenMatrix* weight = nullptr;
  const float* vector = nullptr;  // kLinear, kHead: bias [out] or null. kNorm: gain [out]
  const float* norm_bias = nullptr;  // kNorm, of a LayerNorm: bias [out]
  float gain_offset = 0;             // kNorm: the checkpoint holds gain - gain_offset (Gemma: 1)
  bool turned = false;               // kLinear: the checkpoint holds the weight as [in, out] (Conv1D of GPT-2)
  TensorView table;               // kEmbedding, untied, and kPosition: the rows [in, out]
  bool tied = false;              // kHead and kEmbedding of a tied base
};

// Row `index` of a target's weight in f32: of W for a linear layer or head, of the table for an embedding. row: [in],
// for an embedding [out]. REQUIRES a target that has weights.
void read_weight_row(const Target& target, int64_t index, float* row);

// The modules that a kind adapts when nothing is named, by their last parts (PEFT's table of the family).
struct DefaultTargets {
  std::vector<std::string> lora;
  std::vector<std::string> vera;
  std::vector<std::string> ia3;
  std::vector<std::string> feedforward;  // IA3: those of its targets that are scaled on the input side
  std::vector<std::string> all;          // FLoRA: every linear layer
};

class TargetTable {
 public:
  // Returns the new target's index.
  int32_t add(Target target);
  Target& edit(int32_t index) { return targets_[index]; }
  const std::vector<Target>& targets() const { return targets_; }
  const Target& operator[](int32_t index) const { return targets_[index]; }
  int32_t size() const { return static_cast<int32_t>(targets_.size()); }
  // -1 when there is no such module.
  int32_t find(std::string_view path) const;
  // The same for a tensor's path in a checkpoint, where the base's own prefix may be left out (GPT-2's files)
  // and the head may have an older name (GPT-NeoX's).
  int32_t find_stored(std::string_view path) const;

  // What the family says beside its modules: the prefix of the base without its head ("model.", "transformer."), and PEFT's table.
  void set_family(std::string prefix, DefaultTargets defaults) {
    prefix_ = std::move(prefix);
    defaults_ = std::move(defaults);
  }
  const std::string& prefix() const { return prefix_; }
  const DefaultTargets& defaults() const { return defaults_; }

 private:
  std::string prefix_;
  DefaultTargets defaults_;
  std::vector<Target> targets_;
  std::unordered_map<std::string, int32_t> index_;
};

}  // namespace umbel
