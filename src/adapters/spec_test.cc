#include "adapters/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/test_config.h"

namespace umbel {
namespace {

using testing::ConfigField;
using testing::ConfigObject;
using testing::list;
using testing::object;
using testing::value;

AdapterSpec parsed(const ConfigObject& config) {
  Result<AdapterSpec> spec = parse_spec(object(config));
  EXPECT_TRUE(spec.ok()) << spec.status().to_string();
  return spec.ok() ? std::move(spec).value() : AdapterSpec{};
}

bool selects(const AdapterSpec& spec, const char* path, TargetKind kind = TargetKind::kLinear) {
  Result<bool> result = spec.selects(path, kind);
  EXPECT_TRUE(result.ok()) << result.status().to_string();
  return result.ok() && *result;
}

constexpr const char* kQ3 = "model.layers.3.self_attn.q_proj";
constexpr const char* kQ13 = "model.layers.13.self_attn.q_proj";
constexpr const char* kDown = "model.layers.3.mlp.down_proj";

TEST(SpecTest, NamesMatchWholePathsOrDottedEndings) {
  const AdapterSpec spec =
      parsed({{"peft_type", value("lora")}, {"target_modules", list({value("q_proj"), value(kDown)})}});
  EXPECT_EQ(spec.peft_type, "LORA");
  EXPECT_TRUE(selects(spec, kQ3));
  EXPECT_TRUE(selects(spec, kDown));
  EXPECT_TRUE(selects(spec, "q_proj"));
  EXPECT_FALSE(selects(spec, "model.layers.4.mlp.down_proj"));
  EXPECT_FALSE(selects(spec, "model.layers.3.self_attn.xq_proj"));
}

TEST(SpecTest, PatternsMatchTheWholePath) {
  const AdapterSpec spec = parsed({{"peft_type", value("LORA")},
                                   {"target_modules", value(R"(.*layers\.(3|4)\..*_proj)")},
                                   {"exclude_modules", value(R"(.*down_proj)")}});
  EXPECT_TRUE(selects(spec, kQ3));
  EXPECT_FALSE(selects(spec, kQ13));
  EXPECT_FALSE(selects(spec, kDown));
}

TEST(SpecTest, AllLinearLeavesTheHeadAlone) {
  const AdapterSpec spec = parsed({{"peft_type", value("LORA")},
                                   {"target_modules", value("All-Linear")},
                                   {"exclude_modules", list({value("o_proj")})}});
  EXPECT_TRUE(selects(spec, kQ3));
  EXPECT_FALSE(selects(spec, "model.layers.3.self_attn.o_proj"));
  EXPECT_FALSE(selects(spec, "lm_head", TargetKind::kHead));
  EXPECT_FALSE(selects(spec, "model.embed_tokens", TargetKind::kEmbedding));
  EXPECT_FALSE(selects(spec, "model.norm", TargetKind::kNorm));
}

TEST(SpecTest, LayersToTransform) {
  AdapterSpec spec = parsed({{"peft_type", value("LORA")},
                             {"target_modules", list({value("q_proj")})},
                             {"layers_to_transform", list({value(3), value(5)})}});
  EXPECT_TRUE(selects(spec, kQ3));
  EXPECT_FALSE(selects(spec, kQ13));
  spec = parsed({{"peft_type", value("LORA")},
                 {"target_modules", list({value("q_proj")})},
                 {"layers_to_transform", value(13)},
                 {"layers_pattern", value("layers")}});
  EXPECT_FALSE(selects(spec, kQ3));
  EXPECT_TRUE(selects(spec, kQ13));
  spec = parsed({{"peft_type", value("LORA")},
                 {"target_modules", list({value("q_proj")})},
                 {"layers_to_transform", value(3)},
                 {"layers_pattern", list({value("h"), value("blocks")})}});
  EXPECT_FALSE(selects(spec, kQ3));
  // The first number counts (mixtures of experts have a second one).
  spec = parsed(
      {{"peft_type", value("LORA")}, {"target_modules", list({value("w1")})}, {"layers_to_transform", value(0)}});
  EXPECT_FALSE(selects(spec, "model.layers.1.experts.0.w1"));
  EXPECT_TRUE(selects(spec, "model.layers.0.experts.1.w1"));
}

TEST(SpecTest, SavedModules) {
  const AdapterSpec spec = parsed({{"peft_type", value("LORA")},
                                   {"target_modules", value("all-linear")},
                                   {"modules_to_save", list({value("norm"), value("mlp")})}});
  // PEFT saves every module whose path ends so, without a dot, and what is inside.
  EXPECT_TRUE(spec.saves("model.norm"));
  EXPECT_TRUE(spec.saves("model.layers.0.input_layernorm"));
  EXPECT_TRUE(spec.saves(kDown));
  EXPECT_FALSE(spec.saves(kQ3));
  EXPECT_FALSE(selects(spec, kDown));
  EXPECT_TRUE(selects(spec, kQ3));
}

TEST(SpecTest, RankAndAlphaPatterns) {
  const AdapterSpec spec =
      parsed({{"peft_type", value("LORA")},
              {"target_modules", value("all-linear")},
              {"r", value(8)},
              {"rank_pattern", object({{"down_proj", value(16)}, {R"(layers\.1\d\..*)", value(2)}})},
              {"alpha_pattern", object({{kQ3, value(64)}, {"q_proj", value(1.5)}})}});
  EXPECT_EQ(*spec.rank_at(kDown, 8), 16);
  EXPECT_EQ(*spec.rank_at(kQ13, 8), 2);
  EXPECT_EQ(*spec.rank_at(kQ3, 8), 8);
  EXPECT_EQ(*spec.rank_at("model.layers.3.mlp.xdown_proj", 8), 8);
  EXPECT_EQ(*spec.alpha_at(kQ3, 4.0), 64.0);
  EXPECT_EQ(*spec.alpha_at(kQ13, 4.0), 1.5);
  EXPECT_EQ(*spec.alpha_at(kDown, 4.0), 4.0);
  EXPECT_EQ(spec.rank_max(), 16);
}

// PEFT: the first key, as the file has them, that matches the path's end.
TEST(SpecTest, OverlappingPatternsAreTriedInTheOrderOfTheFile) {
  const auto alpha = [](const char* text) {
    const OrderedJson config = parse_ordered_json(text, "adapter_config.json").value();
    const AdapterSpec spec = parse_spec(config).value();
    return std::pair(*spec.alpha_at(kQ3, 16.0), *spec.rank_at(kQ3, 8));
  };
  EXPECT_EQ(alpha(R"({"peft_type": "LORA", "alpha_pattern": {"q_proj": 64, "layers.3.self_attn.q_proj": 2},
                      "rank_pattern": {"self_attn.q_proj": 3, ".*q_proj": 5}})"),
            std::pair(64.0, int64_t{3}));
  EXPECT_EQ(alpha(R"({"peft_type": "LORA", "alpha_pattern": {"layers.3.self_attn.q_proj": 2, "q_proj": 64},
                      "rank_pattern": {".*q_proj": 5, "self_attn.q_proj": 3}})"),
            std::pair(2.0, int64_t{5}));
  // A name that stands twice keeps its first place and has its last value, as in Python.
  EXPECT_EQ(alpha(R"({"peft_type": "LORA", "alpha_pattern": {"q_proj": 64, ".*proj": 2, "q_proj": 7}})").first, 7.0);
  EXPECT_EQ(alpha(R"({"peft_type": "LORA", "alpha_pattern": {"z.*": 1, "v_proj": 2, "a|q_proj": 3, "q_proj": 4}})").first, 3.0);
}

// PEFT limits only what a name's ending selects: a path that stands in target_modules as it is counts in every layer.
TEST(SpecTest, AWholePathIsNotLimitedByLayers) {
  const AdapterSpec spec = parsed({{"peft_type", value("LORA")},
                                   {"target_modules", list({value("v_proj"), value(kQ3)})},
                                   {"layers_to_transform", list({value(0)})}});
  EXPECT_TRUE(selects(spec, kQ3));
  EXPECT_FALSE(selects(spec, kQ13));
  EXPECT_TRUE(selects(spec, "model.layers.0.self_attn.v_proj"));
  EXPECT_FALSE(selects(spec, "model.layers.3.self_attn.v_proj"));
}

TEST(SpecTest, BadFieldsAreNamed) {
  const auto message = [](const ConfigObject& config) {
    Result<AdapterSpec> spec = parse_spec(object(config));
    return spec.ok() ? std::string("ok") : spec.status().message();
  };
  const ConfigField type{"peft_type", value("LORA")};
  EXPECT_THAT(message({}), ::testing::HasSubstr("peft_type"));
  EXPECT_THAT(message({type, {"r", value("8")}}), ::testing::HasSubstr("r is '8', expected an integer"));
  EXPECT_THAT(message({type, {"target_modules", value("(")}}), ::testing::HasSubstr("target_modules"));
  EXPECT_THAT(message({type, {"target_modules", list({value(3)})}}), ::testing::HasSubstr("target_modules"));
  EXPECT_THAT(message({type, {"target_modules", value("x")}, {"layers_to_transform", value(1)}}),
              ::testing::HasSubstr("layers_to_transform"));
  EXPECT_THAT(message({type, {"layers_pattern", value("x")}}), ::testing::HasSubstr("layers_pattern"));
  EXPECT_THAT(message({type, {"rank_pattern", object({{"q", value(0)}})}}), ::testing::HasSubstr("rank_pattern['q']"));
  EXPECT_THAT(message({type, {"alpha_pattern", value(3)}}), ::testing::HasSubstr("alpha_pattern"));
  EXPECT_THAT(message({type, {"bias", value(true)}}), ::testing::HasSubstr("bias"));
}

}  // namespace
}  // namespace umbel
