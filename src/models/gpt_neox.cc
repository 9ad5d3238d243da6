// GPT-NeoX and Pythia: q, k and v out of one projection head by head, a part of every head turns, LayerNorms.
//
//   parallel (the usual):  x += dense(attention(norm1(x))) + 4h_to_h(gelu(h_to_4h(norm2(x))))
//   else:                  the same one after the other
//
// The head is called lm_head, as transformers 5 does; its older name embed_out is read as well (models/model.cc).
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

Status read_config(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act", "use_parallel_residual"}));
  RETURN_IF_ERROR(read_sizes(json, config));
  config.kv_heads = config.heads;
  config.head_dim = config.hidden_size / config.heads;
  if (config.hidden_size % config.heads != 0) {
    return impossible_field("num_attention_heads", config.heads, "must divide hidden_size = " + std::to_string(config.hidden_size));
  }
  RETURN_IF_ERROR(read_epsilon(json, "layer_norm_eps", 1e-5, config));
  RETURN_IF_ERROR(read_tied(json, false, config));
  RETURN_IF_ERROR(read_activation(json, "hidden_act", "gelu", config));
  ASSIGN_OR_RETURN(config.attention_bias, json_field_or<bool>(json, "attention_bias", true));
  ASSIGN_OR_RETURN(config.parallel_residual, json_field_or<bool>(json, "use_parallel_residual", true));
  return read_rope_config(json, {.theta_name = "rotary_emb_base", .partial = 0.25, .partial_name = "rotary_pct"}, config);
}

Block make_block(const ModelConfig& c, Weights& weights, int64_t index) {
  const std::string path = "gpt_neox.layers." + std::to_string(index);
  const auto norm = [&](const std::string& name) {
    return Norm{.target = weights.layer_norm(path + name, c.hidden_size), .kind = NormKind::kLayer, .epsilon = static_cast<float>(c.norm_epsilon)};
  };
  Block block{.residual = c.parallel_residual ? Residual::kParallel : Residual::kSequential};
  block.attention_in = norm(".input_layernorm");
  Attention& a = block.attention = make_attention(c, index);
  a.qkv = weights.linear(path + ".attention.query_key_value", 3 * a.width(), c.hidden_size, c.attention_bias);
  a.fused = FusedRows::kByHead;
  a.o = weights.linear(path + ".attention.dense", c.hidden_size, a.width(), c.attention_bias);
  block.mlp_in = norm(".post_attention_layernorm");
  block.mlp.activation = c.activation;
  block.mlp.up = weights.linear(path + ".mlp.dense_h_to_4h", c.intermediate_size, c.hidden_size, true);
  block.mlp.down = weights.linear(path + ".mlp.dense_4h_to_h", c.hidden_size, c.intermediate_size, true);
  return block;
}

DecoderParts make(const ModelConfig& config, Weights& weights) {
  DecoderParts parts;
  make_vocabulary(config, {.embedding = "gpt_neox.embed_in"}, weights, parts);
  make_ropes(config, parts);
  for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(make_block(config, weights, index));
  parts.head.norm = {.target = weights.layer_norm("gpt_neox.final_layer_norm", config.hidden_size), .kind = NormKind::kLayer,
                     .epsilon = static_cast<float>(config.norm_epsilon)};
  return parts;
}

constexpr FamilyTargets kTargets = {"query_key_value", "query_key_value", "query_key_value dense_4h_to_h", "dense_4h_to_h",
                                    "query_key_value dense dense_h_to_4h dense_4h_to_h"};

}  // namespace

const Family kGptNeoX = {"gpt_neox", "GPTNeoXForCausalLM", "gpt_neox.", "gpt_neox.embed_in", kTargets, read_config, make};

}  // namespace umbel
