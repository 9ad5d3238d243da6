// A LoRA adapter as a GGUF file that llama.cpp applies at run time (general.type "adapter", adapter.type "lora").
//
// llama.cpp computes (alpha / rank) B A with one alpha for the whole file: modules with another scale have the difference
// multiplied into B. Tensors are NAME.lora_a [rank, in] and NAME.lora_b [out, rank]; of the embedding lora_a is
// transposed. In its llama family the rows of q and k are reordered, pairs of one rotation side by side, hence those of B.
// Source: llama.cpp, src/llama-adapter.cpp and conversion/ (facts, 2026).
#pragma once

#include <map>
#include <string>

#include "adapters/lora_modules.h"
#include "base/status.h"
#include "io/file.h"

namespace umbel {

// Of the base, as llama.cpp sees it.
struct GgufBase {
  std::string architecture;  // "llama", "qwen2", "qwen3"
  bool pairs_reordered = false;  // rows of q and k
  bool tied = false;             // no output.weight: an adapter of the head can't be applied
  int64_t hidden = 0, ffn = 0, vocab = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

struct GgufLora {
  float alpha = 0;
  std::map<std::string, Tensor> tensors;  // f32
};

// kUnsupported naming a module that llama.cpp has no name for; kFailedPrecondition where shapes are not the base's.
Result<GgufLora> to_gguf_lora(const LoraModules& modules, const GgufBase& base);

// name: of the adapter, for people. dtype: kF32, kF16 or kBF16.
Status write_gguf_lora(const Path& file, const GgufLora& lora, const GgufBase& base, const std::string& name, DType dtype);

}  // namespace umbel
