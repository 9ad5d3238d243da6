// HadamardModules: a FLoRA or HiRA adapter as what it computes, module by module.
//
//   W' = W o (scale * B A), and residual: W' = W o (1 + scale * B A)    (of an embedding: transposed)
#pragma once

#include <map>
#include <string>

#include "adapters/spec.h"
#include "adapters/targets.h"
#include "base/status.h"
#include "tensor/tensor.h"

namespace umbel {

struct HadamardModule {
  Tensor a;  // f32 [rank, in]; of an embedding [rank, vocab]
  Tensor b;  // f32 [out, rank]; of an embedding [dim, rank]
  float scale = 1.0f;
  bool embedding = false;

  int64_t rank() const { return a.shape()[0]; }
};

struct HadamardModules {
  std::map<std::string, HadamardModule> modules;  // by path
  bool residual = false;
  bool scale_bias = false;
  std::map<std::string, TensorView> others;  // tensors that are no factors (modules saved whole, biases), as in the file
};

// Offsets are added and factors that the file leaves out are there as ones. targets: of the base, for the shapes of such
// factors; null: a file that leaves one out is kUnsupported. Values that are not finite and shapes that do not fit the
// configuration are refused by name.
Result<HadamardModules> read_hadamard_modules(const AdapterSource& source, const TargetTable* targets);

}  // namespace umbel
