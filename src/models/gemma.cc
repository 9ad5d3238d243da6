// Gemma 1 and CodeGemma (gemma), Gemma 2 (gemma2), the text models of Gemma 3 (gemma3_text).
//
//   x = sqrt(hidden) embed(token), the factor rounded to the weights' type
//   gemma:          x += attention(norm(x));  x += down(gelu(gate(norm(x))) o up(norm(x)))
//   gemma2, gemma3: x += norm(attention(norm(x)));  x += norm(mlp(norm(x)))
//
// Gains are 1 + w. Gemma 2 caps scores and logits and has a window on every other layer; Gemma 3 norms q and k of every head and
// turns the layers with a window by a RoPE of their own.
#include <cmath>
#include <string>

#include "models/config_fields.h"
#include "models/registry.h"
#include "models/rope_config.h"

namespace umbel {
namespace {

constexpr std::string_view kGelu = "gelu_pytorch_tanh";
// What older files call "gelu" is the tanh form here.
Status read_gelu(const Json& json, const char* name, ModelConfig& config) {
  if (json.contains(name) && json[name] == "gelu") {
    config.activation = kernels::Activation::kGeluTanh;
    return ok_status();
  }
  return read_activation(json, name, kGelu, config);
}

Status read_common(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(read_sizes(json, config));
  if (!field_present(json, "head_dim")) config.head_dim = 256;
  RETURN_IF_ERROR(read_epsilon(json, "rms_norm_eps", 1e-6, config));
  RETURN_IF_ERROR(read_tied(json, true, config));
  ASSIGN_OR_RETURN(config.attention_bias, json_field_or<bool>(json, "attention_bias", false));
  config.attention_out_bias = config.attention_bias;
  return ok_status();
}

Status read_gemma(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_act", "hidden_activation"}));
  RETURN_IF_ERROR(read_common(json, config));
  if (!json.contains("num_key_value_heads")) config.kv_heads = 16;
  RETURN_IF_ERROR(read_gelu(json, "hidden_activation", config));
  const kernels::Activation other = config.activation;
  RETURN_IF_ERROR(read_gelu(json, "hidden_act", config));
  if (field_present(json, "hidden_activation") && field_present(json, "hidden_act") && config.activation != other) {
    return unsupported("hidden_act and hidden_activation differ; give the one that the model was trained with");
  }
  if (!field_present(json, "hidden_act")) config.activation = other;
  return read_rope_config(json, {}, config);
}

// query_pre_attn_scalar, final_logit_softcapping; windows by layer_types, else all but every `pattern`-th layer.
Status read_later(const Json& json, int64_t pattern, ModelConfig& config) {
  RETURN_IF_ERROR(read_common(json, config));
  if (!json.contains("num_key_value_heads")) config.kv_heads = 4;
  RETURN_IF_ERROR(read_gelu(json, "hidden_activation", config));
  ASSIGN_OR_RETURN(const double scalar, read_positive_or(json, "query_pre_attn_scalar", 256));
  config.attention_scale = 1 / std::sqrt(scalar);
  ASSIGN_OR_RETURN(const int64_t window, read_window_length(json, 4096));
  if (field_present(json, "layer_types")) return apply_layer_types(json["layer_types"], window, config);
  for (int64_t i = 0; i < config.layers; ++i) config.window[i] = (i + 1) % pattern != 0 ? window : 0;
  return ok_status();
}

Status read_gemma2(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_activation", "hidden_act", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"}));
  RETURN_IF_ERROR(read_later(json, 2, config));
  ASSIGN_OR_RETURN(config.attention_cap, read_cap(json, "attn_logit_softcapping", 50));
  ASSIGN_OR_RETURN(config.logit_cap, read_cap(json, "final_logit_softcapping", 30));
  return read_rope_config(json, {}, config);
}

Status read_gemma3_text(const Json& json, ModelConfig& config) {
  RETURN_IF_ERROR(check_inactive(json, {"hidden_activation", "hidden_act", "query_pre_attn_scalar", "final_logit_softcapping"}));
  ASSIGN_OR_RETURN(const int64_t pattern, read_extent_or(json, "sliding_window_pattern", kLayersMax, 6));
  RETURN_IF_ERROR(read_later(json, pattern, config));
  config.qk_norm = true;
  ASSIGN_OR_RETURN(config.logit_cap, read_cap(json, "final_logit_softcapping", 0));
  return read_two_ropes(json, {.theta = 1000000.0}, {.theta_name = "rope_local_base_freq"}, config);
}

enum class Norms { kBefore, kAround };

struct Maker {
  const ModelConfig& config;
  Weights& weights;
  Norms norms;

  Norm norm(const std::string& path, int64_t dim) const {
    return {.target = weights.norm(path, dim, 1.0f), .epsilon = static_cast<float>(config.norm_epsilon)};
  }

  void attention(const std::string& path, Attention& a) const {
    const ModelConfig& c = config;
    a.q = weights.linear(path + ".q_proj", a.width(), c.hidden_size, c.attention_bias);
    a.k = weights.linear(path + ".k_proj", a.kv_width(), c.hidden_size, c.attention_bias);
    a.v = weights.linear(path + ".v_proj", a.kv_width(), c.hidden_size, c.attention_bias);
    a.o = weights.linear(path + ".o_proj", c.hidden_size, a.width(), c.attention_out_bias);
    if (!c.qk_norm) return;
    a.q_norm = norm(path + ".q_norm", c.head_dim);
    a.k_norm = norm(path + ".k_norm", c.head_dim);
  }

  Block block(int64_t index) const {
    const std::string path = "model.layers." + std::to_string(index);
    Block block;
    block.attention_in = norm(path + ".input_layernorm", config.hidden_size);
    block.attention = make_attention(config, index);
    attention(path + ".self_attn", block.attention);
    if (norms == Norms::kAround) {
      block.attention_out = norm(path + ".post_attention_layernorm", config.hidden_size);
      block.mlp_in = norm(path + ".pre_feedforward_layernorm", config.hidden_size);
    } else {
      block.mlp_in = norm(path + ".post_attention_layernorm", config.hidden_size);
    }
    block.mlp.activation = config.activation;
    block.mlp.gate = weights.linear(path + ".mlp.gate_proj", config.intermediate_size, config.hidden_size, false);
    block.mlp.up = weights.linear(path + ".mlp.up_proj", config.intermediate_size, config.hidden_size, false);
    block.mlp.down = weights.linear(path + ".mlp.down_proj", config.hidden_size, config.intermediate_size, false);
    if (norms == Norms::kAround) block.mlp_out = norm(path + ".post_feedforward_layernorm", config.hidden_size);
    return block;
  }

  // sqrt(hidden) as the weights' type holds it.
  float embedding_scale() const {
    const float exact = std::sqrt(static_cast<float>(config.hidden_size));
    uint16_t narrow = 0;
    float scale = exact;
    if (weights.form().dtype != DType::kF32) {
      narrow_from_f32(&exact, weights.form().dtype, &narrow, 1);
      widen_to_f32(weights.form().dtype, &narrow, &scale, 1);
    }
    return scale;
  }

  DecoderParts decoder() const {
    DecoderParts parts;
    make_vocabulary(config, {}, weights, parts);
    parts.embedding_scale = embedding_scale();
    make_ropes(config, parts);
    for (int64_t index = 0; index < config.layers; ++index) parts.blocks.push_back(block(index));
    parts.head.norm = norm("model.norm", config.hidden_size);
    return parts;
  }
};

DecoderParts make_gemma(const ModelConfig& config, Weights& weights) { return Maker{config, weights, Norms::kBefore}.decoder(); }
DecoderParts make_later(const ModelConfig& config, Weights& weights) { return Maker{config, weights, Norms::kAround}.decoder(); }

constexpr std::string_view kPrefix = "model.", kEmbedding = "model.embed_tokens";
constexpr FamilyTargets kTargets = {"q_proj v_proj", "q_proj v_proj", "q_proj v_proj down_proj", "down_proj",
                                    "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"};

}  // namespace

const Family kGemma = {"gemma", "GemmaForCausalLM", kPrefix, kEmbedding, kTargets, read_gemma, make_gemma};
const Family kGemma2 = {"gemma2", "Gemma2ForCausalLM", kPrefix, kEmbedding, kTargets, read_gemma2, make_later};
const Family kGemma3Text = {"gemma3_text", "Gemma3ForCausalLM", kPrefix, kEmbedding, kTargets, read_gemma3_text, make_later};

}  // namespace umbel
