// The Llama-shaped families: Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM (model_type llama), Mistral and Zephyr (mistral),
// Qwen2 and 2.5 (qwen2: biases on q, k, v), Qwen3 (norms on the heads of q and k), Granite (multipliers), SmolLM3 (layers
// without RoPE).
//
//   every layer:  x += attention(norm(x));  x += down(silu(gate(norm(x))) o up(norm(x)))
//
// Defaults of absent fields are those of the family's configuration class in transformers.
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

// Absent (not null) takes the class's default; null means as many as heads.
void default_kv_heads(const Json& json, int64_t fallback, ModelConfig& config) {
  if (!json.contains("num_key_value_heads")) config.kv_heads = fallback;
}

Status read_biases(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.attention_bias, json_field_or<bool>(json, "attention_bias", false));
  config.attention_out_bias = config.attention_bias;
  return ok_status();
}

Status read_common(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {}));
  RETURN_IF_ERROR(read_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "rms_norm_eps", 1e-6, config));
  return read_tied(json, false, config);
}

Status read_llama(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(read_common(json, config));
  RETURN_IF_ERROR(read_biases(json, config));
  ASSIGN_OR_RETURN(config.mlp_bias, json_field_or<bool>(json, "mlp_bias", false));
  // This family has no window of its own; a file that asks for one would be answered wrongly.
  if (field_present(json, "sliding_window")) {
    return unsupported("sliding_window is not computed for model_type llama; mistral has it");
  }
  if (field_present(json, "layer_types")) RETURN_IF_ERROR(apply_layer_types(json["layer_types"], 0, config));
  return read_rope_config(json, {}, config);
}

Status read_mistral(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(read_common(json, config));
  default_kv_heads(json, 8, config);
  ASSIGN_OR_RETURN(const int64_t window, read_window_length(json, 4096));
  config.window.assign(config.layers, window);
  // transformers computes one window for all layers of a Mistral, whatever layer_types says: only agreement is
  // accepted.
  if (field_present(json, "layer_types")) {
    RETURN_IF_ERROR(apply_layer_types(json["layer_types"], window, config));
    for (const int64_t layer_window : config.window) {
      if (layer_window != window) {
        return unsupported("layer_types of a mistral must be alike for all layers and agree with sliding_window");
      }
    }
  }
  return read_rope_config(json, {}, config);
}

// Qwen2 and Qwen3: use_sliding_window switches it on; layer_types says where, else the layers from max_window_layers
// on.
Status read_qwen_window(const Json& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(const bool use, json_field_or<bool>(json, "use_sliding_window", false));
  int64_t window = 0;
  if (use) {
    ASSIGN_OR_RETURN(window, read_window_length(json, 4096));
  }
  if (field_present(json, "layer_types")) return apply_layer_types(json["layer_types"], window, config);
  ASSIGN_OR_RETURN(const int64_t full_layers, json_field_or<int64_t>(json, "max_window_layers", 28));
  for (int64_t i = 0; i < config.layers; ++i) config.window[i] = i >= full_layers ? window : 0;
  return ok_status();
}

Status read_qwen2(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(read_common(json, config));
  config.attention_bias = true;
  default_kv_heads(json, 32, config);
  RETURN_IF_ERROR(read_qwen_window(json, config));
  return read_rope_config(json, {}, config);
}

Status read_qwen3(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(read_common(json, config));
  RETURN_IF_ERROR(read_biases(json, config));
  config.qk_norm = true;
  if (!field_present(json, "head_dim")) config.head_dim = 128;
  default_kv_heads(json, 32, config);
  RETURN_IF_ERROR(read_qwen_window(json, config));
  return read_rope_config(json, {}, config);
}

Status read_granite(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling", "hidden_act"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "rms_norm_eps", 1e-6, config));
  RETURN_IF_ERROR(read_tied(json, false, config));
  RETURN_IF_ERROR(read_biases(json, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "silu", config));
  ASSIGN_OR_RETURN(config.mlp_bias, json_field_or<bool>(json, "mlp_bias", false));
  ASSIGN_OR_RETURN(config.embedding_scale, read_positive_or(json, "embedding_multiplier", 1));
  ASSIGN_OR_RETURN(config.residual_scale, read_positive_or(json, "residual_multiplier", 1));
  ASSIGN_OR_RETURN(config.attention_scale, read_positive_or(json, "attention_multiplier", 1));
  ASSIGN_OR_RETURN(const double logits_scaling, read_positive_or(json, "logits_scaling", 1));
  config.logit_scale = 1 / logits_scaling;
  return read_rope_config(json, {}, config);
}

// no_rope_layers: one number per layer, 0 = this layer does not turn; else every no_rope_layer_interval-th does not.
Status read_unturned_layers(const Json& json, ModelConfig& config) {
  if (field_present(json, "no_rope_layers")) {
    const Json& list = json["no_rope_layers"];
    const auto wrong = [&] {
      return invalid_argument("no_rope_layers must be a list of num_hidden_layers = " + std::to_string(config.layers) + " numbers 0 or 1");
    };
    if (!list.is_array() || static_cast<int64_t>(list.size()) != config.layers) return wrong();
    for (int64_t i = 0; i < config.layers; ++i) {
      const Json& turns = list[static_cast<size_t>(i)];
      if (turns != 0 && turns != 1) return wrong();
      if (turns == 0) config.unturned_layers.push_back(i);
    }
    return ok_status();
  }
  ASSIGN_OR_RETURN(const int64_t interval, json_field_or<int64_t>(json, "no_rope_layer_interval", 4));
  if (interval < 1) return impossible_field("no_rope_layer_interval", interval, "must be at least 1");
  for (int64_t i = 0; i < config.layers; ++i) {
    if ((i + 1) % interval == 0) config.unturned_layers.push_back(i);
  }
  return ok_status();
}

Status read_smollm3(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "rms_norm_eps", 1e-6, config));
  RETURN_IF_ERROR(read_tied(json, true, config));
  RETURN_IF_ERROR(read_biases(json, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "silu", config));
  ASSIGN_OR_RETURN(config.mlp_bias, json_field_or<bool>(json, "mlp_bias", false));
  default_kv_heads(json, 4, config);
  RETURN_IF_ERROR(read_unturned_layers(json, config));
  ASSIGN_OR_RETURN(const bool use, json_field_or<bool>(json, "use_sliding_window", false));
  int64_t window = 0;
  if (use) {
    ASSIGN_OR_RETURN(window, read_window_length(json, 0));
  }
  if (field_present(json, "layer_types")) {
    RETURN_IF_ERROR(apply_layer_types(json["layer_types"], window, config));
  } else {
    for (const int64_t layer : config.unturned_layers) config.window[layer] = window;
  }
  return read_rope_config(json, {.theta = 2000000.0}, config);
}

Block make_block(const ModelConfig& c, Weights& weights, int64_t index) {
  const std::string path = "model.layers." + std::to_string(index);
  const auto norm = [&](const std::string& name, int64_t dim) {
    return Norm{.target = weights.norm(path + name, dim), .epsilon = static_cast<float>(c.norm_epsilon)};
  };
  Block block;
  block.residual_scale = static_cast<float>(c.residual_scale);
  block.attention_in = norm(".input_layernorm", c.hidden_size);
  Attention& a = block.attention = make_attention(c, index);
  a.q = weights.linear(path + ".self_attn.q_proj", a.width(), c.hidden_size, c.attention_bias);
  a.k = weights.linear(path + ".self_attn.k_proj", a.kv_width(), c.hidden_size, c.attention_bias);
  a.v = weights.linear(path + ".self_attn.v_proj", a.kv_width(), c.hidden_size, c.attention_bias);
  a.o = weights.linear(path + ".self_attn.o_proj", c.hidden_size, a.width(), c.attention_out_bias);
  if (c.qk_norm) {
    a.q_norm = norm(".self_attn.q_norm", c.head_dim);
    a.k_norm = norm(".self_attn.k_norm", c.head_dim);
  }
  block.mlp_in = norm(".post_attention_layernorm", c.hidden_size);
  block.mlp.activation = c.activation;
  block.mlp.gate = weights.linear(path + ".mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
  block.mlp.up = weights.linear(path + ".mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
  block.mlp.down = weights.linear(path + ".mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
  return block;
}

DecoderParts make(const ModelConfig& config, Weights& weights) {
  DecoderParts parts;
  make_vocabulary(config, {}, weights, parts);
  make_ropes(config, parts);
  for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(make_block(config, weights, index));
  parts.head.norm = {.target = weights.norm("model.norm", config.hidden_size), .epsilon = static_cast<float>(config.norm_epsilon)};
  return parts;
}

constexpr std::string_view kPrefix = "model.", kEmbedding = "model.embed_tokens";
constexpr std::string_view kSeven = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj";
// PEFT's IA3 scales k and v of a Llama or Mistral, q and v of the later families.
constexpr FamilyTargets kOfKeys = {"q_proj v_proj", "q_proj v_proj", "k_proj v_proj down_proj", "down_proj", kSeven};
constexpr FamilyTargets kOfQueries = {"q_proj v_proj", "q_proj v_proj", "q_proj v_proj down_proj", "down_proj", kSeven};

}  // namespace

const Family kLlama = {"llama", "LlamaForCausalLM", kPrefix, kEmbedding, kOfKeys, read_llama, make};
const Family kMistral = {"mistral", "MistralForCausalLM", kPrefix, kEmbedding, kOfKeys, read_mistral, make};
const Family kQwen2 = {"qwen2", "Qwen2ForCausalLM", kPrefix, kEmbedding, kOfQueries, read_qwen2, make};
const Family kQwen3 = {"qwen3", "Qwen3ForCausalLM", kPrefix, kEmbedding, kOfQueries, read_qwen3, make};
const Family kGranite = {"granite", "GraniteForCausalLM", kPrefix, kEmbedding, kOfKeys, read_granite, make};
const Family kSmolLm3 = {"smollm3", "SmolLM3ForCausalLM", kPrefix, kEmbedding, kOfKeys, read_smollm3, make};

}  // namespace umbel
