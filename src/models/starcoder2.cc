// StarCoder2: Llama's order with LayerNorms, a plain feed-forward, biases and a window for all layers.
//
//   x += o(attention(norm(x)));  x += c_proj(gelu(c_fc(norm(x))))
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

Status read_config(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  if (!json.contains("num_key_value_heads")) config.kv_heads = 2;
  RETURN_IF_ERROR(read_epsilon(json, "norm_epsilon", 1e-5, config));
  RETURN_IF_ERROR(read_tied(json, true, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "gelu_pytorch_tanh", config));
  ASSIGN_OR_RETURN(config.mlp_bias, json_field_or<bool>(json, "use_bias", true));  // of all linear layers; norms have theirs anyway
  config.attention_bias = config.attention_out_bias = config.mlp_bias;
  ASSIGN_OR_RETURN(const int64_t window, read_window_length(json, 0));
  config.window.assign(config.layers, window);
  return read_rope_config(json, {}, config);
}

Block make_block(const ModelConfig& c, Weights& weights, int64_t index) {
  const std::string path = "model.layers." + std::to_string(index);
  const auto norm = [&](const std::string& name) {
    return Norm{.target = weights.layer_norm(path + name, c.hidden_size), .kind = NormKind::kLayer, .epsilon = static_cast<float>(c.norm_epsilon)};
  };
  Block block;
  block.attention_in = norm(".input_layernorm");
  Attention& a = block.attention = make_attention(c, index);
  a.q = weights.linear(path + ".self_attn.q_proj", a.width(), c.hidden_size, c.attention_bias);
  a.k = weights.linear(path + ".self_attn.k_proj", a.kv_width(), c.hidden_size, c.attention_bias);
  a.v = weights.linear(path + ".self_attn.v_proj", a.kv_width(), c.hidden_size, c.attention_bias);
  a.o = weights.linear(path + ".self_attn.o_proj", c.hidden_size, a.width(), c.attention_out_bias);
  block.mlp_in = norm(".post_attention_layernorm");
  block.mlp.activation = c.activation;
  block.mlp.up = weights.linear(path + ".mlp.c_fc", c.intermediate_size, c.hidden_size, c.mlp_bias);
  block.mlp.down = weights.linear(path + ".mlp.c_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
  return block;
}

DecoderParts make(const ModelConfig& config, Weights& weights) {
  DecoderParts parts;
  make_vocabulary(config, {}, weights, parts);
  make_ropes(config, parts);
  for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(make_block(config, weights, index));
  parts.head.norm = {.target = weights.layer_norm("model.norm", config.hidden_size), .kind = NormKind::kLayer,
                     .epsilon = static_cast<float>(config.norm_epsilon)};
  return parts;
}

// PEFT's table has no entry for starcoder2; these are what it has for the like.
constexpr FamilyTargets kTargets = {"q_proj v_proj", "q_proj v_proj", "q_proj v_proj c_proj", "c_proj",
                                    "q_proj k_proj v_proj o_proj c_fc c_proj"};

}  // namespace

const Family kStarCoder2 = {"starcoder2", "Starcoder2ForCausalLM", "model.", "model.embed_tokens", kTargets, read_config, make};

}  // namespace umbel
