// ModelConfig: a Hugging Face config.json, validated, in either dialect found on the Hub (rope_theta + rope_scaling +
// torch_dtype, or rope_parameters + dtype of transformers 5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "tensor/dtype.h"

namespace umbel {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kYarn, kLlama3 };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  std::optional<double> attention_factor;         // yarn
  std::optional<double> mscale;                   // yarn
  std::optional<double> mscale_all_dim;           // yarn
  bool truncate = true;                           // yarn: round the ramp's ends
  int64_t original_max_position_embeddings = 0;   // yarn, llama3, dynamic
};

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
};

// kUnsupported naming the model_type (with the known ones) or an active field that can't be computed;
// kInvalidArgument naming a field that is missing or impossible.
Result<ModelConfig> parse_model_config(const Json& json);
Result<ModelConfig> load_model_config(const Path& dir);

}  // namespace umbel
