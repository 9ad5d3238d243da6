// GPT-2 and DistilGPT-2 (gpt2), SantaCoder and StarCoder(Base) (gpt_bigcode).
//
//   x = wte(token) + wpe(position)
//   every layer:  x += c_proj(attention(c_attn(ln_1(x))));  x += c_proj(gelu(c_fc(ln_2(x))))
//
// Learned positions, LayerNorms, biases everywhere, a tied head. GPT-2 stores its weights turned (Conv1D) and c_attn as q | k | v;
// BigCode stores plain ones, c_attn as all q | k | v with one KV head, or, with as many as heads, q k v head by head.
#include <cmath>
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"

namespace umbel {
namespace {

Status read_common(const Json& json, std::string_view activation, ModelConfig& config) {
  config.learned_positions = true;
  RETURN_IF_ERROR(read_gpt_sizes(json, config));
  RETURN_IF_ERROR(read_epsilon(json, "layer_norm_epsilon", 1e-5, config));
  RETURN_IF_ERROR(read_tied(json, true, config));
  RETURN_IF_ERROR(read_activation(json, "activation_function", activation, config));
  ASSIGN_OR_RETURN(const bool scaled, json_field_or<bool>(json, "scale_attn_weights", true));
  if (!scaled) config.attention_scale = 1;
  return ok_status();
}

Status read_gpt2(const Json& json, ModelConfig& config) {
  // reorder_and_upcast_attn says in which precision scores are computed: always f32 here.
  RETURN_IF_ERROR(check_inactive(json, {"scale_attn_by_inverse_layer_idx", "scale_attn_weights"}));
  RETURN_IF_ERROR(read_common(json, "gelu_new", config));
  ASSIGN_OR_RETURN(config.scale_by_layer, json_field_or<bool>(json, "scale_attn_by_inverse_layer_idx", false));
  return ok_status();
}

Status read_gpt_bigcode(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"scale_attn_weights"}));
  RETURN_IF_ERROR(read_common(json, "gelu_pytorch_tanh", config));
  ASSIGN_OR_RETURN(const bool multi_query, json_field_or<bool>(json, "multi_query", true));
  if (multi_query) config.kv_heads = 1;
  return ok_status();
}

enum class Stored { kTurned, kPlain };

// Makes the modules of one checkpoint.
struct Maker {
  const ModelConfig& config;
  Weights& weights;
  Stored stored;

  Norm norm(const std::string& path) const {
    return {.target = weights.layer_norm(path, config.hidden_size), .kind = NormKind::kLayer, .epsilon = static_cast<float>(config.norm_epsilon)};
  }
  int32_t linear(const std::string& path, int64_t out, int64_t in) const {
    return stored == Stored::kTurned ? weights.turned_linear(path, out, in) : weights.linear(path, out, in, /*bias=*/true);
  }

  Block block(int64_t index) const {
    const std::string path = "transformer.h." + std::to_string(index);
    Block block;
    block.attention_in = norm(path + ".ln_1");
    Attention& a = block.attention = make_attention(config, index);
    a.qkv = linear(path + ".attn.c_attn", a.width() + 2 * a.kv_width(), config.hidden_size);
    // One head is both orders; and so GPT-2's order is that of one KV head, too.
    a.fused = stored == Stored::kPlain && config.kv_heads == config.heads ? FusedRows::kByHead : FusedRows::kBlocks;
    a.o = linear(path + ".attn.c_proj", config.hidden_size, config.hidden_size);
    block.mlp_in = norm(path + ".ln_2");
    block.mlp.activation = config.activation;
    block.mlp.up = linear(path + ".mlp.c_fc", config.intermediate_size, config.hidden_size);
    block.mlp.down = linear(path + ".mlp.c_proj", config.hidden_size, config.intermediate_size);
    return block;
  }

  DecoderParts decoder() const {
    DecoderParts parts;
    make_vocabulary(config, {.embedding = "transformer.wte"}, weights, parts);
    parts.positions = weights.positions("transformer.wpe", config.max_position_embeddings, config.hidden_size);
    for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(block(index));
    parts.head.norm = norm("transformer.ln_f");
    return parts;
  }
};

DecoderParts make_gpt2(const ModelConfig& config, Weights& weights) { return Maker{config, weights, Stored::kTurned}.decoder(); }
DecoderParts make_gpt_bigcode(const ModelConfig& config, Weights& weights) { return Maker{config, weights, Stored::kPlain}.decoder(); }

constexpr FamilyTargets kTargets = {"c_attn", "c_attn", "c_attn mlp.c_proj", "mlp.c_proj", "c_attn c_proj c_fc"};

}  // namespace

const Family kGpt2 = {"gpt2", "GPT2LMHeadModel", "transformer.", "transformer.wte", kTargets, read_gpt2, make_gpt2};
const Family kGptBigCode = {"gpt_bigcode", "GPTBigCodeForCausalLM", "transformer.", "transformer.wte", kTargets, read_gpt_bigcode,
                            make_gpt_bigcode};

}  // namespace umbel
