#include "models/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/generation_config.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A valid config.json of a family; tests change single fields of it.
Json base_json(const std::string& type = "llama") {
  Json json = Json::parse(R"({"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
      "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5})");
  json["model_type"] = type;
  return json;
}

Json with(Json json, const std::string& name, Json value) {
  json[name] = std::move(value);
  return json;
}

ModelConfig parsed(const Json& json) {
  Result<ModelConfig> config = parse_model_config(json);
  EXPECT_TRUE(config.ok()) << config.status().to_string();
  return config.ok() ? *config : ModelConfig{};
}

// The failure's code is as stated and its message names the field.
void expect_refused(const Json& json, Code code, const std::string& named) {
  const Result<ModelConfig> config = parse_model_config(json);
  ASSERT_FALSE(config.ok()) << json.dump();
  EXPECT_EQ(config.status().code(), code) << config.status().to_string();
  EXPECT_THAT(config.status().message(), HasSubstr(named));
}

TEST(ConfigTest, DefaultsOfAnOldLlamaFile) {
  Json json = base_json();
  json.erase("num_key_value_heads");
  json.erase("rms_norm_eps");
  const ModelConfig config = parsed(json);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.norm_epsilon, 1e-6);
  EXPECT_EQ(config.rope.type, RopeType::kDefault);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_FALSE(config.dtype.has_value());
  EXPECT_FALSE(config.tie_word_embeddings || config.attention_bias || config.mlp_bias || config.qk_norm);
  EXPECT_THAT(config.window, ElementsAre(0, 0, 0));
}

TEST(ConfigTest, EveryMissingOrImpossibleFieldIsNamed) {
  for (const char* name : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                           "max_position_embeddings", "model_type"}) {
    Json json = base_json();
    json.erase(name);
    expect_refused(json, Code::kInvalidArgument, name);
  }
  for (const char* name : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                           "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const Json& value : {Json(0), Json(-1), Json("8"), Json(1.5), Json(uint64_t{1} << 63), Json::array()}) {
      expect_refused(with(base_json(), name, value), Code::kInvalidArgument, name);
    }
  }
  expect_refused(with(base_json(), "num_key_value_heads", 3), Code::kInvalidArgument, "num_key_value_heads");
  expect_refused(with(base_json(), "head_dim", 7), Code::kInvalidArgument, "head_dim");
  expect_refused(with(base_json(), "rms_norm_eps", 0), Code::kInvalidArgument, "rms_norm_eps");
  expect_refused(with(base_json(), "tie_word_embeddings", "yes"), Code::kInvalidArgument, "tie_word_embeddings");
  expect_refused(with(base_json(), "eos_token_id", "</s>"), Code::kInvalidArgument, "eos_token_id");
  expect_refused(with(base_json(), "torch_dtype", "posit8"), Code::kInvalidArgument, "torch_dtype");
  expect_refused(Json::array(), Code::kInvalidArgument, "object");
}

TEST(ConfigTest, UnknownModelTypeNamesTheKnownOnes) {
  expect_refused(with(base_json(), "model_type", "mamba2"), Code::kUnsupported, "llama, mistral, qwen2, qwen3");
  expect_refused(with(base_json(), "model_type", "gemma3"), Code::kUnsupported, "the nearest is gemma");
  expect_refused(with(base_json(), "model_type", "gpt_bigcod"), Code::kUnsupported, "the nearest is gpt_bigcode");
  expect_refused(with(base_json(), "architectures", {"LlamaForSequenceClassification"}), Code::kUnsupported,
                 "LlamaForSequenceClassification");
}

TEST(ConfigTest, ActiveFieldsThatAreNotComputedAreRefusedByNameAndInactiveOnesAreNot) {
  const std::vector<std::pair<const char*, Json>> active = {
      {"hidden_act", "gelu"},
      {"pretraining_tp", 2},
      {"attn_logit_softcapping", 50.0},
      {"final_logit_softcapping", 30.0},
      {"quantization_config", {{"quant_method", "gptq"}}},
      {"num_local_experts", 8},
      {"logits_scaling", 8.0},
      {"partial_rotary_factor", 0.5},
      {"rope_interleaved", true},
      {"sliding_window", 4096},
      {"layer_types", {"full_attention", "linear_attention", "full_attention"}},
  };
  for (const auto& [name, value] : active) expect_refused(with(base_json(), name, value), Code::kUnsupported, name);
  const std::vector<std::pair<const char*, Json>> inactive = {
      {"hidden_act", "silu"},   {"pretraining_tp", 1},      {"attn_logit_softcapping", nullptr},
      {"num_local_experts", 0}, {"logits_scaling", 1.0},    {"partial_rotary_factor", 1.0},
      {"use_cache", true},      {"attention_dropout", 0.1}, {"a_field_of_the_future", {1, 2}},
  };
  for (const auto& [name, value] : inactive) parsed(with(base_json(), name, value));
}

TEST(ConfigTest, BothDialectsOfRopeMeanTheSame) {
  Json fields = {{"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                 {"original_max_position_embeddings", 64}};
  Json old_file = with(base_json(), "rope_theta", 500000.0);
  old_file["torch_dtype"] = "bfloat16";
  old_file["rope_scaling"] = fields;
  old_file["rope_scaling"]["rope_type"] = "llama3";
  Json new_file = with(base_json(), "dtype", "bfloat16");
  new_file["rope_parameters"] = fields;
  new_file["rope_parameters"]["rope_type"] = "llama3";
  new_file["rope_parameters"]["rope_theta"] = 500000.0;
  for (const Json& json : {old_file, new_file}) {
    const ModelConfig config = parsed(json);
    EXPECT_EQ(config.rope.type, RopeType::kLlama3);
    EXPECT_EQ(config.rope.theta, 500000.0);
    EXPECT_EQ(config.rope.factor, 8.0);
    EXPECT_EQ(config.rope.original_max_position_embeddings, 64);
    EXPECT_EQ(config.dtype, DType::kBF16);
  }
  Json legacy_type = with(base_json(), "rope_scaling", {{"type", "linear"}, {"factor", 2}});
  EXPECT_EQ(parsed(legacy_type).rope.type, RopeType::kLinear);
  EXPECT_EQ(parsed(with(base_json(), "rope_scaling", nullptr)).rope.type, RopeType::kDefault);
}

TEST(ConfigTest, RopeFieldsAreChecked) {
  const auto scaling = [](Json fields) { return with(base_json(), "rope_scaling", std::move(fields)); };
  expect_refused(scaling({{"rope_type", "longrope"}}), Code::kUnsupported, "longrope");
  expect_refused(scaling({{"rope_type", "linear"}}), Code::kInvalidArgument, "factor");
  expect_refused(scaling({{"rope_type", "linear"}, {"factor", -2}}), Code::kInvalidArgument, "factor");
  expect_refused(scaling({{"rope_type", "dynamic"}, {"factor", 0.5}}), Code::kInvalidArgument, "factor");
  expect_refused(scaling({{"rope_type", "llama3"}, {"factor", 8}}), Code::kInvalidArgument, "low_freq_factor");
  expect_refused(scaling({{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}),
                 Code::kInvalidArgument, "high_freq_factor");
  expect_refused(scaling({{"rope_type", "yarn"}, {"factor", 2}, {"partial_rotary_factor", 0.25}}), Code::kUnsupported,
                 "partial_rotary_factor");
  expect_refused(scaling(Json::array()), Code::kInvalidArgument, "rope_scaling");
  expect_refused(with(base_json(), "rope_theta", 0), Code::kInvalidArgument, "rope_theta");
  // yarn without a factor: how much longer the context is than the original one.
  EXPECT_EQ(parsed(scaling({{"rope_type", "yarn"}, {"original_max_position_embeddings", 32}})).rope.factor, 4.0);
}

TEST(ConfigTest, RopePerLayerTypeMustAgree) {
  const Json one = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e6}};
  const Json other = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  Json json = base_json("qwen3");
  json["head_dim"] = 8;
  json["rope_parameters"] = {{"full_attention", one}, {"sliding_attention", one}};
  EXPECT_EQ(parsed(json).rope.factor, 2.0);
  json["rope_parameters"]["sliding_attention"] = other;
  expect_refused(json, Code::kUnsupported, "rope_parameters");
}

TEST(ConfigTest, ContextGrowsOnlyWithDynamicRope) {
  const auto scaled = [](const char* type) {
    return parsed(with(base_json(), "rope_scaling", {{"rope_type", type}, {"factor", 2.5}})).context_length();
  };
  EXPECT_EQ(scaled("dynamic"), 320);
  EXPECT_EQ(scaled("linear"), 128);
}

TEST(ConfigTest, MistralWindow) {
  Json json = base_json("mistral");
  EXPECT_THAT(parsed(json).window, ElementsAre(4096, 4096, 4096));  // the class's default
  EXPECT_THAT(parsed(with(json, "sliding_window", 7)).window, ElementsAre(7, 7, 7));
  EXPECT_THAT(parsed(with(json, "sliding_window", nullptr)).window, ElementsAre(0, 0, 0));
  expect_refused(with(json, "sliding_window", 0), Code::kInvalidArgument, "sliding_window");
  json["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  expect_refused(json, Code::kUnsupported, "layer_types");
  json["num_attention_heads"] = 16;
  json["layer_types"] = nullptr;
  json.erase("num_key_value_heads");
  EXPECT_EQ(parsed(json).kv_heads, 8);
}

TEST(ConfigTest, QwenWindows) {
  Json json = with(base_json("qwen2"), "sliding_window", 16);
  EXPECT_TRUE(parsed(json).attention_bias);
  EXPECT_FALSE(parsed(json).attention_out_bias);
  EXPECT_THAT(parsed(json).window, ElementsAre(0, 0, 0));  // use_sliding_window is false
  json["use_sliding_window"] = true;
  json["max_window_layers"] = 1;
  EXPECT_THAT(parsed(json).window, ElementsAre(0, 16, 16));
  json["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_THAT(parsed(json).window, ElementsAre(16, 0, 16));
  expect_refused(with(json, "layer_types", {"full_attention"}), Code::kInvalidArgument, "layer_types");
  expect_refused(with(json, "use_sliding_window", false), Code::kInvalidArgument, "sliding_window");
  const ModelConfig qwen3 = parsed(base_json("qwen3"));
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_FALSE(qwen3.attention_bias);
}

TEST(ConfigTest, TokenIdsAsNumberOrList) {
  EXPECT_THAT(parsed(with(base_json(), "eos_token_id", 2)).eos_ids, ElementsAre(2));
  EXPECT_THAT(parsed(with(base_json(), "eos_token_id", {2, 5})).eos_ids, ElementsAre(2, 5));
  EXPECT_TRUE(parsed(with(base_json(), "eos_token_id", nullptr)).eos_ids.empty());
  EXPECT_EQ(parsed(with(base_json(), "bos_token_id", 1)).bos_id, 1);
  expect_refused(with(base_json(), "eos_token_id", {2, -5}), Code::kInvalidArgument, "eos_token_id");
}

// A slice of what a fuzzer does: fields replaced, removed and added at random, also inside the RoPE object. Any answer
// is right as long as it is one: a configuration whose numbers can be computed with, or a failure that says something.
TEST(ConfigTest, AnyMixOfFieldsIsAnswered) {
  const std::vector<Json> values = {nullptr, true, 0, 1, -1, 2.5, 1e300, uint64_t{1} << 63, "", "silu", "yarn",
                                    "dynamic", "llama3", "linear", "default", Json::array(), Json::object(), {1, 2, 3},
                                    {"sliding_attention", "full_attention", "sliding_attention"}, 8, 64};
  const std::vector<std::string> inner = {"rope_type", "type", "factor", "rope_theta", "low_freq_factor", "beta_fast",
                                          "high_freq_factor", "original_max_position_embeddings", "attention_factor",
                                          "mscale", "mscale_all_dim", "truncate", "full_attention", "beta_slow"};
  std::vector<std::string> outer = {"head_dim", "sliding_window", "layer_types", "use_sliding_window",
                                    "max_window_layers",
                                    "eos_token_id", "bos_token_id", "torch_dtype", "dtype", "rope_theta",
                                    "architectures",
                                    "partial_rotary_factor", "attention_bias", "tie_word_embeddings", "hidden_act"};
  const Json base = base_json();
  for (const auto& [name, value] : base.items()) outer.push_back(name);
  Random random(2024);
  const auto pick = [&](const auto& list) -> const auto& { return list[random.next_below(list.size())]; };
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    Json json = base_json(pick(std::vector<std::string>{"llama", "mistral", "qwen2", "qwen3"}));
    for (uint64_t changes = random.next_below(3); changes > 0; --changes) json[pick(outer)] = pick(values);
    if (random.next_below(2) == 0) {
      Json& rope = json[random.next_below(2) == 0 ? "rope_scaling" : "rope_parameters"];
      rope = {{"rope_type", pick(std::vector<std::string>{"default", "linear", "dynamic", "yarn", "llama3"})},
              {"factor", 2.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};
      for (uint64_t changes = random.next_below(3); changes > 0; --changes) rope[pick(inner)] = pick(values);
    }
    const Result<ModelConfig> config = parse_model_config(json);
    if (!config.ok()) {
      EXPECT_FALSE(config.status().message().empty());
      continue;
    }
    ++accepted;
    ASSERT_EQ(static_cast<int64_t>(config->window.size()), config->layers);
    ASSERT_GE(config->context_length(), 1);
    std::vector<float> frequencies(config->head_dim / 2);
    Rope(config->rope, config->head_dim).frequencies(config->max_position_embeddings * 2, frequencies);
  }
  EXPECT_GT(accepted, 2000);
}

TEST(ConfigTest, LoadNamesTheFile) {
  testing::TempDir dir;
  EXPECT_EQ(load_model_config(dir.path() / "nothing").status().code(), Code::kNotFound);
  std::ofstream(dir.path() / "config.json") << R"({"model_type": "llama"})";
  EXPECT_THAT(load_model_config(dir.path()).status().message(), HasSubstr("config.json"));
}

TEST(GenerationConfigTest, ItsEosComesFirstAndAbsentFilesGiveTheConfigs) {
  testing::TempDir dir;
  ModelConfig config;
  config.eos_ids = {2};
  EXPECT_THAT(load_generation_config(dir.path(), config)->eos_ids, ElementsAre(2));
  const Path file = dir.path() / "generation_config.json";
  std::ofstream(file) << R"({"eos_token_id": [7, 8], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 40,
                             "typical_p": 1.0, "min_p": 0.05, "repetition_penalty": 1.1, "transformers_version": "5"})";
  const GenerationConfig full = load_generation_config(dir.path(), config).value();
  EXPECT_THAT(full.eos_ids, ElementsAre(7, 8));
  EXPECT_EQ(full.do_sample, true);
  EXPECT_EQ(full.temperature, 0.6);
  EXPECT_EQ(full.top_p, 0.9);
  EXPECT_EQ(full.top_k, 40);
  EXPECT_EQ(full.min_p, 0.05);
  EXPECT_EQ(full.typical_p, 1.0);
  EXPECT_EQ(full.repetition_penalty, 1.1);
  std::ofstream(file) << R"({"do_sample": null})";
  const GenerationConfig empty = load_generation_config(dir.path(), config).value();
  EXPECT_THAT(empty.eos_ids, ElementsAre(2));
  EXPECT_FALSE(empty.do_sample || empty.temperature || empty.top_k);
  for (const char* bad : {R"({"temperature": "hot"})", R"({"eos_token_id": -1})", R"({"top_p": -0.5})", "[]", "{"}) {
    std::ofstream(file) << bad;
    const Result<GenerationConfig> result = load_generation_config(dir.path(), config);
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_THAT(result.status().message(), HasSubstr("generation_config.json"));
  }
}

}  // namespace
}  // namespace umbel
