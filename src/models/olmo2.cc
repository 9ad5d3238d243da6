// OLMo 2: norms stand after attention and feed-forward, none before; q and k are normed over the whole projection.
//
//   x += norm(o(attention(x)));  x += norm(down(silu(gate(x)) o up(x)))
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

Status read_config(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "rms_norm_eps", 1e-5, config));
  RETURN_IF_ERROR(read_tied(json, false, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "silu", config));
  ASSIGN_OR_RETURN(config.attention_bias, json_field_or<bool>(json, "attention_bias", false));
  config.attention_out_bias = config.attention_bias;
  config.qk_norm = true;
  return read_rope_config(json, {}, config);
}

Block make_block(const ModelConfig& c, Weights& weights, int64_t index) {
  const std::string path = "model.layers." + std::to_string(index);
  const auto norm = [&](const std::string& name, int64_t dim) {
    return Norm{.target = weights.norm(path + name, dim), .epsilon = static_cast<float>(c.norm_epsilon)};
  };
  Block block;
  Attention& a = block.attention = make_attention(c, index);
  a.q = weights.linear(path + ".self_attn.q_proj", a.width(), c.hidden_size, c.attention_bias);
  a.k = weights.linear(path + ".self_attn.k_proj", a.kv_width(), c.hidden_size, c.attention_bias);
  a.v = weights.linear(path + ".self_attn.v_proj", a.kv_width(), c.hidden_size, c.attention_bias);
  a.o = weights.linear(path + ".self_attn.o_proj", c.hidden_size, a.width(), c.attention_out_bias);
  a.q_norm = norm(".self_attn.q_norm", a.width());
  a.k_norm = norm(".self_attn.k_norm", a.kv_width());
  block.attention_out = norm(".post_attention_layernorm", c.hidden_size);
  block.mlp.activation = c.activation;
  block.mlp.gate = weights.linear(path + ".mlp.gate_proj", c.intermediate_size, c.hidden_size, false);
  block.mlp.up = weights.linear(path + ".mlp.up_proj", c.intermediate_size, c.hidden_size, false);
  block.mlp.down = weights.linear(path + ".mlp.down_proj", c.hidden_size, c.intermediate_size, false);
  block.mlp_out = norm(".post_feedforward_layernorm", c.hidden_size);
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

// PEFT's table has no entry for olmo2; these are Llama's.
constexpr FamilyTargets kTargets = {"q_proj v_proj", "q_proj v_proj", "k_proj v_proj down_proj", "down_proj",
                                    "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"};

}  // namespace

const Family kOlmo2 = {"olmo2", "Olmo2ForCausalLM", "model.", "model.embed_tokens", kTargets, read_config, make};

}  // namespace umbel
