// ModelConfig: a Hugging Face config.json, validated, in either dialect found on the Hub (rope_theta + rope_scaling +
// torch_dtype, or rope_parameters + dtype of transformers 5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "kernels/activation.h"
#include "nn/rope.h"
#include "tensor/dtype.h"

namespace umbel {

struct ModelConfig {
  std::string model_type;    // "llama", "gpt2", ...: models/registry.h
  std::string architecture;  // "LlamaForCausalLM"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double norm_epsilon = 1e-6;
  bool tie_word_embeddings = false;
  bool attention_bias = false;    // q, k, v
  bool attention_out_bias = false;  // o
  bool mlp_bias = false;
  bool qk_norm = false;           // q and k are normed before RoPE (Qwen3, Gemma 3, OLMo 2)
  bool parallel_residual = false;  // attention and feed-forward read one state (Phi; GPT-NeoX where it says so)
  kernels::Activation activation = kernels::Activation::kSilu;
  double attention_scale = 0;     // of q.k; 0 = 1 / sqrt(head_dim)
  bool scale_by_layer = false;    // layer i's scores are divided by i + 1 (GPT-2's scale_attn_by_inverse_layer_idx)
  double attention_cap = 0;       // of the scores, then of the logits: cap tanh(x / cap); 0 = none
  double logit_cap = 0;
  double embedding_scale = 1;     // Granite's multipliers
  double residual_scale = 1;
  double logit_scale = 1;
  std::vector<int64_t> window;    // per layer: sliding window in keys, 0 = none
  bool learned_positions = false;  // a table of max_position_embeddings rows in place of RoPE
  RopeConfig rope;
  int64_t rotary_dim = 0;         // dimensions of a head that turn; 0 = all
  std::optional<RopeConfig> local_rope;  // of the layers with a window (Gemma 3)
  std::vector<int64_t> unturned_layers;  // without RoPE (SmolLM3), ascending
  std::optional<DType> dtype;     // as the checkpoint says
  std::vector<int32_t> eos_ids;   // config.json's own; generation_config.json comes first (models/generation_config.h)
  std::optional<int32_t> bos_id;

  // Positions a sequence may have: dynamic RoPE goes past max_position_embeddings, up to factor times; longrope ends at the length
  // before scaling.
  int64_t context_length() const;
};

// kUnsupported naming the model_type (with the known ones) or an active field that can't be computed;
// kInvalidArgument naming a field that is missing or impossible.
Result<ModelConfig> parse_model_config(const Json& json);
Result<ModelConfig> load_model_config(const Path& dir);

// json[name] as token ids: one integer or a list; none when absent or null.
Result<std::vector<int32_t>> read_token_ids(const Json& json, const char* name);

}  // namespace umbel
