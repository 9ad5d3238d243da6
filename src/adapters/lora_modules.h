// LoraModules: a LoRA adapter as what it computes, without a base model: for every module its two factors and its scale.
//
//   dW = scale * B A    (of an embedding: the table changes by (scale * B A)^T)
#pragma once

#include <map>
#include <string>

#include "adapters/adapter.h"
#include "adapters/spec.h"
#include "base/status.h"
#include "tensor/tensor.h"

namespace umbel {

struct LoraModule {
  Tensor a;             // f32 [rank, in]; of an embedding [rank, vocab]
  Tensor b;             // f32 [out, rank]; of an embedding [dim, rank]
  float scale = 1.0f;   // alpha / rank, or alpha / sqrt(rank)
  bool embedding = false;

  int64_t rank() const { return a.shape()[0]; }
  int64_t in() const { return a.shape()[1]; }
  int64_t out() const { return b.shape()[0]; }
};

using LoraModules = std::map<std::string, LoraModule>;  // by module path

// Plain LoRA and rsLoRA of any ranks. kUnsupported, with why, for everything that is more than low-rank products: DoRA,
// trained biases, modules saved whole, trainable tokens, other kinds. kDataLoss for a value that is not finite;
// kInvalidArgument for factors that are missing or do not fit each other or the configuration.
Result<LoraModules> read_lora_modules(const AdapterSource& source);

// The same of a built adapter of any kind whose terms are one low-rank product at each of its linear layers (VeRA, with
// its vectors multiplied in: one rounding per number). kUnsupported where there is more.
Result<LoraModules> low_rank_modules(const Adapter& adapter, const TargetTable& targets);

// The names of a module's tensors in adapter_model.safetensors.
std::string lora_a_name(const std::string& path, bool embedding);
std::string lora_b_name(const std::string& path, bool embedding);

}  // namespace umbel
