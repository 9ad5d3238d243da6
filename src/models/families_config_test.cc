// What config.json of the families beside Llama's says, in both dialects, and what is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/config.h"

namespace umbel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json like_llama(const std::string& type) {
  Json json = Json::parse(R"({"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
      "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128})");
  json["model_type"] = type;
  return json;
}
Json like_gpt(const std::string& type) {
  Json json = Json::parse(R"({"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48})");
  json["model_type"] = type;
  return json;
}
Json with(Json json, const std::string& name, Json value) {
  json[name] = std::move(value);
  return json;
}
ModelConfig parsed(const Json& json) {
  const Result<ModelConfig> config = parse_model_config(json);
  EXPECT_TRUE(config.ok()) << config.status().to_string();
  return config.ok() ? *config : ModelConfig{};
}
void expect_refused(const Json& json, Code code, const std::string& named) {
  const Result<ModelConfig> config = parse_model_config(json);
  ASSERT_FALSE(config.ok()) << json.dump();
  EXPECT_EQ(config.status().code(), code) << config.status().to_string();
  EXPECT_THAT(config.status().message(), HasSubstr(named));
}

TEST(FamiliesConfigTest, Gpt2HasItsOwnNamesAndDefaults) {
  const ModelConfig config = parsed(like_gpt("gpt2"));
  EXPECT_EQ(config.hidden_size, 32);
  EXPECT_EQ(config.intermediate_size, 128);
  EXPECT_EQ(config.context_length(), 48);
  EXPECT_TRUE(config.learned_positions && config.tie_word_embeddings);
  EXPECT_EQ(config.activation, kernels::Activation::kGeluTanh);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(parsed(with(like_gpt("gpt2"), "n_inner", 50)).intermediate_size, 50);
  EXPECT_EQ(parsed(with(like_gpt("gpt2"), "n_inner", nullptr)).intermediate_size, 128);
  EXPECT_EQ(parsed(with(like_gpt("gpt2"), "scale_attn_weights", false)).attention_scale, 1);
  EXPECT_TRUE(parsed(with(like_gpt("gpt2"), "scale_attn_by_inverse_layer_idx", true)).scale_by_layer);
  EXPECT_EQ(parsed(like_gpt("gpt_bigcode")).kv_heads, 1);
  EXPECT_EQ(parsed(with(like_gpt("gpt_bigcode"), "multi_query", false)).kv_heads, 4);
  expect_refused(with(like_gpt("gpt2"), "n_head", 5), Code::kInvalidArgument, "n_head");
  expect_refused(with(like_gpt("gpt2"), "n_positions", 0), Code::kInvalidArgument, "n_positions");
  expect_refused(with(like_gpt("gpt2"), "activation_function", "quick_gelu"), Code::kUnsupported, "activation_function");
  expect_refused(with(like_gpt("gpt2"), "add_cross_attention", true), Code::kUnsupported, "add_cross_attention");
  expect_refused(with(like_gpt("gpt_bigcode"), "scale_attn_by_inverse_layer_idx", true), Code::kUnsupported, "scale_attn_by_inverse_layer_idx");
  for (const char* name : {"vocab_size", "n_embd", "n_layer", "n_head", "n_positions"}) {
    Json json = like_gpt("gpt2");
    json.erase(name);
    expect_refused(json, Code::kInvalidArgument, name);
  }
}

TEST(FamiliesConfigTest, GemmasGeluIsTheTanhFormHoweverItIsCalled) {
  for (const char* name : {"gelu", "gelu_pytorch_tanh"}) {
    EXPECT_EQ(parsed(with(like_llama("gemma"), "hidden_act", name)).activation, kernels::Activation::kGeluTanh);
  }
  EXPECT_EQ(parsed(like_llama("gemma")).head_dim, 256);  // the class's default
  EXPECT_TRUE(parsed(like_llama("gemma")).tie_word_embeddings);
  expect_refused(with(with(like_llama("gemma"), "hidden_act", "gelu"), "hidden_activation", "relu"), Code::kUnsupported, "hidden_act");
  expect_refused(with(like_llama("gemma"), "use_bidirectional_attention", true), Code::kUnsupported, "use_bidirectional_attention");
  expect_refused(with(like_llama("gemma"), "final_logit_softcapping", 30.0), Code::kUnsupported, "final_logit_softcapping");
}

TEST(FamiliesConfigTest, GemmasWindowsAndCaps) {
  const ModelConfig second = parsed(with(like_llama("gemma2"), "sliding_window", 8));
  EXPECT_THAT(second.window, ElementsAre(8, 0, 8, 0));
  EXPECT_EQ(second.attention_cap, 50);
  EXPECT_EQ(second.logit_cap, 30);
  EXPECT_EQ(second.attention_scale, 1 / 16.0);
  EXPECT_EQ(parsed(with(like_llama("gemma2"), "attn_logit_softcapping", nullptr)).attention_cap, 0);
  expect_refused(with(like_llama("gemma2"), "attn_logit_softcapping", -1), Code::kInvalidArgument, "attn_logit_softcapping");
  const ModelConfig third = parsed(with(with(like_llama("gemma3_text"), "sliding_window", 8), "sliding_window_pattern", 3));
  EXPECT_THAT(third.window, ElementsAre(8, 8, 0, 8));
  EXPECT_EQ(third.rope.theta, 1e6);
  EXPECT_EQ(third.local_rope->theta, 1e4);
  EXPECT_EQ(third.logit_cap, 0);
  expect_refused(with(like_llama("gemma3_text"), "attn_logit_softcapping", 50.0), Code::kUnsupported, "attn_logit_softcapping");
}

TEST(FamiliesConfigTest, Gemma3RopesInBothDialects) {
  Json old_file = with(like_llama("gemma3_text"), "rope_theta", 5e5);
  old_file["rope_local_base_freq"] = 5e3;
  old_file["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  Json new_file = like_llama("gemma3_text");
  new_file["rope_parameters"] = {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 5e5}}},
                                 {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 5e3}}}};
  for (const Json& json : {old_file, new_file}) {
    const ModelConfig config = parsed(json);
    EXPECT_EQ(config.rope.theta, 5e5);
    EXPECT_EQ(config.rope.type, RopeType::kLinear);
    EXPECT_EQ(config.local_rope->theta, 5e3);
    EXPECT_EQ(config.local_rope->type, RopeType::kDefault);
  }
}

TEST(FamiliesConfigTest, PartialRotationIsTheWholePartOfTheProductAndEven) {
  EXPECT_EQ(parsed(like_llama("phi")).rotary_dim, 4);
  EXPECT_EQ(parsed(with(like_llama("phi"), "partial_rotary_factor", 0.3)).rotary_dim, 2);
  expect_refused(with(like_llama("phi"), "partial_rotary_factor", 0.4), Code::kInvalidArgument, "partial_rotary_factor");
  expect_refused(with(like_llama("phi"), "partial_rotary_factor", 0), Code::kInvalidArgument, "partial_rotary_factor");
  expect_refused(with(like_llama("phi"), "partial_rotary_factor", 1.5), Code::kInvalidArgument, "partial_rotary_factor");
  EXPECT_EQ(parsed(like_llama("gpt_neox")).rotary_dim, 2);
  EXPECT_EQ(parsed(with(like_llama("gpt_neox"), "rotary_pct", 0.5)).rotary_dim, 4);
  EXPECT_EQ(parsed(with(like_llama("gpt_neox"), "rotary_emb_base", 500)).rope.theta, 500);
  expect_refused(with(like_llama("phi"), "qk_layernorm", true), Code::kUnsupported, "qk_layernorm");
}

TEST(FamiliesConfigTest, LongropeHasOneFactorPerPairAndEndsAtTheOriginalLength) {
  const auto scaled = [](const char* key, const char* type) {
    Json json = with(like_llama("phi3"), "original_max_position_embeddings", 32);
    json["rope_scaling"] = {{key, type}, {"short_factor", {1.0, 1.1, 1.2, 1.3}}, {"long_factor", {2.0, 3.0, 4.0, 5.0}}};
    return json;
  };
  for (const Json& json : {scaled("type", "su"), scaled("rope_type", "longrope"), scaled("type", "longrope")}) {
    const ModelConfig config = parsed(json);
    EXPECT_EQ(config.rope.type, RopeType::kLongrope);
    EXPECT_EQ(config.rope.original_max_position_embeddings, 32);
    EXPECT_EQ(config.rope.factor, 4);
    EXPECT_EQ(config.context_length(), 32);
  }
  Json short_list = scaled("type", "longrope");
  short_list["rope_scaling"]["long_factor"] = {1.0, 2.0};
  expect_refused(short_list, Code::kInvalidArgument, "long_factor");
  Json scaled_twice = scaled("type", "longrope");
  scaled_twice["rope_scaling"]["long_mscale"] = 1.2;
  expect_refused(scaled_twice, Code::kUnsupported, "long_mscale");
  expect_refused(scaled("type", "linear"), Code::kUnsupported, "linear");
}

TEST(FamiliesConfigTest, GraniteAndSmolLm3) {
  Json json = with(like_llama("granite"), "logits_scaling", 4.0);
  json["attention_multiplier"] = 0.25;
  EXPECT_EQ(parsed(json).logit_scale, 0.25);
  EXPECT_EQ(parsed(json).attention_scale, 0.25);
  expect_refused(with(json, "residual_multiplier", 0), Code::kInvalidArgument, "residual_multiplier");
  EXPECT_THAT(parsed(like_llama("smollm3")).unturned_layers, ElementsAre(3));
  EXPECT_THAT(parsed(with(like_llama("smollm3"), "no_rope_layers", {0, 1, 0, 1})).unturned_layers, ElementsAre(0, 2));
  expect_refused(with(like_llama("smollm3"), "no_rope_layers", {0, 1}), Code::kInvalidArgument, "no_rope_layers");
}

TEST(FamiliesConfigTest, ExpertsAndOtherHeadsAreRefusedForEveryFamily) {
  for (const char* type : {"gemma", "gemma2", "gemma3_text", "phi", "phi3", "starcoder2", "gpt_neox", "granite", "olmo2", "smollm3"}) {
    expect_refused(with(like_llama(type), "num_local_experts", 8), Code::kUnsupported, "num_local_experts");
    expect_refused(with(like_llama(type), "architectures", {"SomethingForTokenClassification"}), Code::kUnsupported, "architectures");
    expect_refused(with(like_llama(type), "quantization_config", {{"quant_method", "gptq"}}), Code::kUnsupported, "quantization_config");
    expect_refused(with(like_llama(type), "vocab_size", -3), Code::kInvalidArgument, "vocab_size");
  }
}

}  // namespace
}  // namespace umbel
