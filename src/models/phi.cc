// Phi-1, 1.5 and 2 (phi), Phi-3, 3.5 and 4 mini (phi3).
//
//   phi:   x += dense(attention(norm(x))) + fc2(gelu(fc1(norm(x)))), one LayerNorm for both; biases everywhere, the head too;
//          a part of every head turns
//   phi3:  Llama's shape with q | k | v out of one projection and gate | up out of another; RoPE whole or in part, plain or longrope
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

Status read_phi(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "layer_norm_eps", 1e-5, config));
  RETURN_IF_ERROR(read_tied(json, false, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "gelu_new", config));
  config.parallel_residual = true;
  return read_rope_config(json, {.partial = 0.5}, config);
}

Status read_phi3(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "rms_norm_eps", 1e-5, config));
  RETURN_IF_ERROR(read_tied(json, false, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "silu", config));
  ASSIGN_OR_RETURN(const int64_t window, read_window_length(json, 0));
  config.window.assign(config.layers, window);
  return read_rope_config(json, {.partial = 1, .original = 4096, .longrope = true}, config);
}

Block make_phi_block(const ModelConfig& c, Weights& weights, int64_t index) {
  const std::string path = "model.layers." + std::to_string(index);
  Block block{.residual = Residual::kParallel};
  block.attention_in = {.target = weights.layer_norm(path + ".input_layernorm", c.hidden_size), .kind = NormKind::kLayer,
                        .epsilon = static_cast<float>(c.norm_epsilon)};
  Attention& a = block.attention = make_attention(c, index);
  a.q = weights.linear(path + ".self_attn.q_proj", a.width(), c.hidden_size, true);
  a.k = weights.linear(path + ".self_attn.k_proj", a.kv_width(), c.hidden_size, true);
  a.v = weights.linear(path + ".self_attn.v_proj", a.kv_width(), c.hidden_size, true);
  a.o = weights.linear(path + ".self_attn.dense", c.hidden_size, a.width(), true);
  block.mlp.activation = c.activation;
  block.mlp.up = weights.linear(path + ".mlp.fc1", c.intermediate_size, c.hidden_size, true);
  block.mlp.down = weights.linear(path + ".mlp.fc2", c.hidden_size, c.intermediate_size, true);
  return block;
}

DecoderParts make_phi(const ModelConfig& config, Weights& weights) {
  DecoderParts parts;
  make_vocabulary(config, {}, weights, parts);
  weights.add_bias(parts.head.projection);
  make_ropes(config, parts);
  for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(make_phi_block(config, weights, index));
  parts.head.norm = {.target = weights.layer_norm("model.final_layernorm", config.hidden_size), .kind = NormKind::kLayer,
                     .epsilon = static_cast<float>(config.norm_epsilon)};
  return parts;
}

Block make_phi3_block(const ModelConfig& c, Weights& weights, int64_t index) {
  const std::string path = "model.layers." + std::to_string(index);
  const auto norm = [&](const std::string& name) {
    return Norm{.target = weights.norm(path + name, c.hidden_size), .epsilon = static_cast<float>(c.norm_epsilon)};
  };
  Block block;
  block.attention_in = norm(".input_layernorm");
  Attention& a = block.attention = make_attention(c, index);
  a.qkv = weights.linear(path + ".self_attn.qkv_proj", a.width() + 2 * a.kv_width(), c.hidden_size, false);
  a.o = weights.linear(path + ".self_attn.o_proj", c.hidden_size, a.width(), false);
  block.mlp_in = norm(".post_attention_layernorm");
  block.mlp.activation = c.activation;
  block.mlp.gate_up = weights.linear(path + ".mlp.gate_up_proj", 2 * c.intermediate_size, c.hidden_size, false);
  block.mlp.down = weights.linear(path + ".mlp.down_proj", c.hidden_size, c.intermediate_size, false);
  return block;
}

DecoderParts make_phi3(const ModelConfig& config, Weights& weights) {
  DecoderParts parts;
  make_vocabulary(config, {}, weights, parts);
  make_ropes(config, parts);
  for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(make_phi3_block(config, weights, index));
  parts.head.norm = {.target = weights.norm("model.norm", config.hidden_size), .epsilon = static_cast<float>(config.norm_epsilon)};
  return parts;
}

constexpr std::string_view kPrefix = "model.", kEmbedding = "model.embed_tokens";
constexpr FamilyTargets kPhiTargets = {"q_proj v_proj fc1 fc2", "q_proj v_proj", "q_proj v_proj fc2", "fc2",
                                       "q_proj k_proj v_proj dense fc1 fc2"};
// PEFT's table has no entry for phi3; these are what it has for the like.
constexpr FamilyTargets kPhi3Targets = {"qkv_proj", "qkv_proj", "qkv_proj down_proj", "down_proj", "qkv_proj o_proj gate_up_proj down_proj"};

}  // namespace

const Family kPhi = {"phi", "PhiForCausalLM", kPrefix, kEmbedding, kPhiTargets, read_phi, make_phi};
const Family kPhi3 = {"phi3", "Phi3ForCausalLM", kPrefix, kEmbedding, kPhi3Targets, read_phi3, make_phi3};

}  // namespace umbel
