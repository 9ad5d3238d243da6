// ModelConfig: a Hugging Face config.json, validated, in either dialect found on the Hub (rope_theta + rope_scaling +
// torch_dtype, or rope_parameters + dtype of transformers 5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "nn/rope.h"
#include "tensor/dtype.h"

namespace umbel {

struct ModelConfig {
  std::string model_type;    // "llama", "mistral", "qwen2", "qwen3"
  std::string architecture;  // "LlamaForCausalLM"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;    // q, k, v
  bool attention_out_bias = false;  // o
  bool mlp_bias = false;
  bool qk_norm = false;           // Qwen3: RMSNorm per head before RoPE
  std::vector<int64_t> window;    // per layer: sliding window in keys, 0 = none
  RopeConfig rope;
  std::optional<DType> dtype;     // as the checkpoint says
  std::vector<int32_t> eos_ids;   // config.json's own; generation_config.json comes first (models/generation_config.h)
  std::optional<int32_t> bos_id;

  // Positions a sequence may have: dynamic RoPE goes past max_position_embeddings, up to factor times.
  int64_t context_length() const;
};

// kUnsupported naming the model_type (with the known ones) or an active field that can't be computed;
// kInvalidArgument naming a field that is missing or impossible.
Result<ModelConfig> parse_model_config(const Json& json);
Result<ModelConfig> load_model_config(const Path& dir);

// json[name] as token ids: one integer or a list; none when absent or null.
Result<std::vector<int32_t>> read_token_ids(const Json& json, const char* name);

}  // namespace umbel
