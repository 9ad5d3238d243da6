// The Llama-shaped families: Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM (model_type llama), Mistral and Zephyr (mistral),
// Qwen2 and 2.5 (qwen2: biases on q, k, v), Qwen3 (norms on the heads of q and k).
//
//   x = embed(token)
//   every layer:  x += attention(norm(x));  x += down(silu(gate(norm(x))) o up(norm(x)))
//   logits = head(norm(x))
#pragma once

#include <memory>

#include "base/status.h"
#include "io/json.h"
#include "models/config.h"
#include "models/model.h"
#include "models/weights.h"

namespace umbel {

Status read_llama_config(const Json& json, ModelConfig& config);
Status read_mistral_config(const Json& json, ModelConfig& config);
Status read_qwen2_config(const Json& json, ModelConfig& config);
Status read_qwen3_config(const Json& json, ModelConfig& config);

// Takes every tensor it needs from weights; the caller then asks weights.finish().
Result<std::shared_ptr<const Model>> build_llama(const ModelConfig& config, Weights& weights);

}  // namespace umbel
