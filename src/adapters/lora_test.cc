#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/merge.h"
#include "adapters/test_support.h"

namespace umbel {
namespace {

using testing::apply_one;
using testing::dense;
using ::testing::HasSubstr;
using testing::list;
using testing::object;
using testing::random_tensor;
using testing::relative_difference;
using testing::SmallBase;
using testing::SmallFile;
using testing::value;

constexpr const char* kQ0 = "model.layers.0.self_attn.q_proj";

// LoRA on q_proj of both layers.
SmallFile lora_on_q(int64_t rank, const SmallBase& base, double alpha = 6) {
  SmallFile file({{"peft_type", value("LORA")},
                  {"r", value(static_cast<int>(rank))},
                  {"lora_alpha", value(alpha)},
                  {"target_modules", list({value("q_proj")})}});
  for (const char* path : {kQ0, "model.layers.1.self_attn.q_proj"}) {
    const Target& target = base.at(path);
    file.add(std::string(path) + ".lora_A.weight", {rank, target.in});
    file.add(std::string(path) + ".lora_B.weight", {target.out, rank});
  }
  return file;
}

// W + s B A in double, from the file.
std::vector<double> lora_weight(const SmallBase& base, SmallFile& file, const std::string& path, int64_t rank,
                                double s) {
  const Target& target = base.at(path);
  const Tensor w = base.weight(target);
  std::vector<double> merged(w.f32(), w.f32() + w.elements());
  for (int64_t o = 0; o < target.out; ++o) {
    for (int64_t i = 0; i < target.in; ++i) {
      for (int64_t j = 0; j < rank; ++j) {
        merged[o * target.in + i] +=
            s * file.at(path + ".lora_B.weight", o * rank + j) * file.at(path + ".lora_A.weight", j * target.in + i);
      }
    }
  }
  return merged;
}

std::string failure(const SmallFile& file, const SmallBase& base, BuildOptions options = {}) {
  const auto adapter = file.build(base, options);
  return adapter.ok() ? "ok" : adapter.status().message();
}

TEST(LoraTest, AddsScaledProduct) {
  const SmallBase base({.bias = true});
  Random random(3);
  const Tensor x = random_tensor(random, {5, 24}, 1.0f);
  for (const int rank : {1, 3, 8, 33}) {
    for (const bool rslora : {false, true}) {
      SmallFile file = lora_on_q(rank, base);
      file.set("use_rslora", value(rslora));
      const auto adapter = file.build(base);
      ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
      EXPECT_EQ((*adapter)->report().coverage(), "applied 2 of 2 targets");
      EXPECT_EQ((*adapter)->report().kind, "lora");
      EXPECT_EQ((*adapter)->rank_max(), rank);
      EXPECT_EQ((*adapter)->cost(), 1);
      const double s = rslora ? 6.0 / std::sqrt(rank) : 6.0 / rank;
      const std::vector<double> w = lora_weight(base, file, kQ0, rank, s);
      EXPECT_LT(relative_difference(apply_one(base, kQ0, adapter->get(), x), dense(w, base.at(kQ0).vector, x, 24)),
                3e-6);
      // A module that is not selected stays the base's.
      EXPECT_EQ((*adapter)->linear(base.targets().find("model.layers.0.self_attn.k_proj")), nullptr);
    }
  }
}

// A minimal file: PEFT's defaults are r = 8 and lora_alpha = 8.
TEST(LoraTest, DefaultsArePeftS) {
  const SmallBase base;
  SmallFile file({{"peft_type", value("LORA")}, {"target_modules", list({value("layers.0.self_attn.q_proj")})}});
  file.add(std::string(kQ0) + ".lora_A.weight", {8, 24});
  file.add(std::string(kQ0) + ".lora_B.weight", {24, 8});
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  EXPECT_EQ((*adapter)->linear(base.targets().find(kQ0))->low_rank[0].scale, 1.0f);
}

TEST(LoraTest, RankAndAlphaPatternsHoldPerModule) {
  const SmallBase base;
  SmallFile file = lora_on_q(3, base);
  file.set("rank_pattern", object({{"layers.1.self_attn.q_proj", value(5)}}));
  file.set("alpha_pattern", object({{"layers.1.self_attn.q_proj", value(20)}}));
  const std::string q1 = "model.layers.1.self_attn.q_proj";
  EXPECT_THAT(failure(file, base), HasSubstr("[3, 24]"));
  file.add(q1 + ".lora_A.weight", {5, 24});
  file.add(q1 + ".lora_B.weight", {24, 5});
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  Random random(4);
  const Tensor x = random_tensor(random, {2, 24}, 1.0f);
  EXPECT_LT(relative_difference(apply_one(base, q1, adapter->get(), x),
                                dense(lora_weight(base, file, q1, 5, 4.0), nullptr, x, 24)),
            3e-6);
  EXPECT_LT(relative_difference(apply_one(base, kQ0, adapter->get(), x),
                                dense(lora_weight(base, file, kQ0, 3, 2.0), nullptr, x, 24)),
            3e-6);
}

TEST(LoraTest, DoraScalesRowsToTheirMagnitude) {
  const SmallBase base({.bias = true});
  SmallFile file = lora_on_q(4, base);
  file.set("use_dora", value(true));
  EXPECT_THAT(failure(file, base), HasSubstr("layers.0.self_attn.q_proj.lora_magnitude_vector is missing"));
  file.add(std::string(kQ0) + ".lora_magnitude_vector", {24}, 0.2f, 2.0f);
  file.add("model.layers.1.self_attn.q_proj.lora_magnitude_vector.weight", {24}, 0.2f, 2.0f);  // in-memory name
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  std::vector<double> w = lora_weight(base, file, kQ0, 4, 6.0 / 4);
  for (int64_t o = 0; o < 24; ++o) {
    double norm = 0.0;
    for (int64_t i = 0; i < 24; ++i) norm += w[o * 24 + i] * w[o * 24 + i];
    const double factor = file.at(std::string(kQ0) + ".lora_magnitude_vector", o) / std::sqrt(norm);
    for (int64_t i = 0; i < 24; ++i) w[o * 24 + i] *= factor;
  }
  Random random(4);
  const Tensor x = random_tensor(random, {3, 24}, 1.0f);
  EXPECT_LT(relative_difference(apply_one(base, kQ0, adapter->get(), x), dense(w, base.at(kQ0).vector, x, 24)), 3e-6);
}

TEST(LoraTest, Biases) {
  const SmallBase base({.bias = true});
  Random random(4);
  const Tensor x = random_tensor(random, {3, 24}, 1.0f);
  SmallFile file = lora_on_q(2, base);
  file.set("bias", value("lora_only"));
  EXPECT_THAT(failure(file, base), HasSubstr("q_proj.bias is missing"));
  file.add(std::string(kQ0) + ".base_layer.bias", {24});
  file.add("model.layers.1.self_attn.q_proj.bias", {24});  // as older files have it
  const auto lora_only = file.build(base);
  ASSERT_TRUE(lora_only.ok()) << lora_only.status().to_string();
  const std::vector<double> w = lora_weight(base, file, kQ0, 2, 3.0);
  const float* own = file.tensor(std::string(kQ0) + ".base_layer.bias").f32();
  EXPECT_LT(relative_difference(apply_one(base, kQ0, lora_only->get(), x), dense(w, own, x, 24)), 3e-6);

  // lora_bias: s times the bias of B on top of the module's bias, here a trained one.
  file.set("lora_bias", value(true));
  file.add(std::string(kQ0) + ".lora_B.bias", {24});
  file.add("model.layers.1.self_attn.q_proj.lora_B.bias", {24});
  const auto lora_bias = file.build(base);
  ASSERT_TRUE(lora_bias.ok()) << lora_bias.status().to_string();
  std::vector<float> sum(24);
  for (int64_t i = 0; i < 24; ++i) sum[i] = own[i] + 3.0f * file.at(std::string(kQ0) + ".lora_B.bias", i);
  EXPECT_LT(relative_difference(apply_one(base, kQ0, lora_bias->get(), x), dense(w, sum.data(), x, 24)), 3e-6);

  // all: every bias of the base, also of modules without low-rank terms.
  file.set("bias", value("all"));
  EXPECT_THAT(failure(file, base), HasSubstr("k_proj.bias is missing"));
  for (const std::string layer : {"0", "1"}) {
    for (const char* module : {"k_proj", "v_proj"})
      file.add("model.layers." + layer + ".self_attn." + module + ".bias", {12});
  }
  const auto all = file.build(base);
  ASSERT_TRUE(all.ok()) << all.status().to_string();
  const Target& k = base.at("model.layers.0.self_attn.k_proj");
  const Tensor w_k = base.weight(k);
  const std::vector<double> plain(w_k.f32(), w_k.f32() + w_k.elements());
  EXPECT_LT(relative_difference(apply_one(base, k.path, all->get(), x),
                                dense(plain, file.tensor("model.layers.0.self_attn.k_proj.bias").f32(), x, 12)),
            3e-6);
}

TEST(LoraTest, EmbeddingAndHeadAreIndependentOnATiedBase) {
  const SmallBase base({.tied = true});
  SmallFile file({{"peft_type", value("LORA")},
                  {"r", value(3)},
                  {"lora_alpha", value(6)},
                  {"target_modules", list({value("embed_tokens"), value("lm_head")})}});
  file.add("model.embed_tokens.lora_embedding_A", {3, 30});
  file.add("model.embed_tokens.lora_embedding_B", {24, 3});
  file.add("lm_head.lora_A.weight", {3, 24});
  file.add("lm_head.lora_B.weight", {30, 3});
  // PEFT puts a copy of the base's own weights beside them.
  file.add_raw("base_model.model.model.embed_tokens.base_layer.weight", base.weight(base.at("model.embed_tokens")));
  file.add_raw("base_model.model.lm_head.base_layer.weight", base.weight(base.at("lm_head")));
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  const Tensor w = base.weight(base.at("lm_head"));
  const Tensor table = merge_embedding(base.at("model.embed_tokens"), (*adapter)->embedding());
  const Tensor head = merge_linear(base.at("lm_head"), (*adapter)->linear(base.targets().find("lm_head"))).weight;
  for (int64_t t = 0; t < 30; ++t) {
    for (int64_t i = 0; i < 24; ++i) {
      double in = w.f32()[t * 24 + i], out = in;
      for (int64_t j = 0; j < 3; ++j) {
        in += 2.0 * file.at("model.embed_tokens.lora_embedding_A", j * 30 + t) *
              file.at("model.embed_tokens.lora_embedding_B", i * 3 + j);
        out += 2.0 * file.at("lm_head.lora_B.weight", t * 3 + j) * file.at("lm_head.lora_A.weight", j * 24 + i);
      }
      EXPECT_NEAR(table.f32()[t * 24 + i], in, 1e-5);
      EXPECT_NEAR(head.f32()[t * 24 + i], out, 1e-5);
    }
  }
  // A copy of another base is not overlooked.
  file.tensor("lm_head.base_layer.weight").f32()[7] += 3.0f;
  EXPECT_THAT(failure(file, base), HasSubstr("another base"));
}

TEST(LoraTest, EnsureWeightTyingTakesBothSides) {
  const SmallBase base({.tied = true});
  SmallFile file({{"peft_type", value("LORA")},
                  {"r", value(3)},
                  {"ensure_weight_tying", value(true)},
                  {"target_modules", list({value("model.embed_tokens")})}});
  file.add("model.embed_tokens.lora_embedding_A", {3, 30});
  file.add("model.embed_tokens.lora_embedding_B", {24, 3});
  EXPECT_THAT(failure(file, base), HasSubstr("lm_head.lora_A.weight is missing"));
  const auto turned = [&](const char* name, int64_t rows, int64_t cols) {
    Tensor tensor(DType::kF32, {cols, rows});
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) tensor.f32()[j * rows + i] = file.at(name, i * cols + j);
    }
    return tensor;
  };
  file.add_raw("base_model.model.lm_head.lora_A.weight", turned("model.embed_tokens.lora_embedding_B", 24, 3));
  file.add_raw("base_model.model.lm_head.lora_B.weight", turned("model.embed_tokens.lora_embedding_A", 3, 30));
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  EXPECT_EQ((*adapter)->report().coverage(), "applied 2 of 2 targets");
  const Tensor table = merge_embedding(base.at("model.embed_tokens"), (*adapter)->embedding());
  const Tensor head = merge_linear(base.at("lm_head"), (*adapter)->linear(base.targets().find("lm_head"))).weight;
  for (int64_t i = 0; i < table.elements(); ++i) EXPECT_NEAR(table.f32()[i], head.f32()[i], 1e-6);
  file.tensor("lm_head.lora_A.weight").f32()[0] += 1.0f;
  EXPECT_THAT(failure(file, base), HasSubstr("must be equal"));
  // Without tying in the base the field changes nothing.
  const SmallBase untied;
  file.remove("lm_head.lora_A.weight");
  file.remove("lm_head.lora_B.weight");
  EXPECT_EQ(failure(file, untied), "ok");
}

TEST(LoraTest, ModulesSavedWhole) {
  const SmallBase base({.bias = true});
  SmallFile file = lora_on_q(2, base);
  file.set("modules_to_save", list({value("lm_head"), value("embed_tokens"), value("model.norm"), value("v_proj")}));
  file.add("lm_head.weight", {30, 24});
  file.add("model.embed_tokens.weight", {30, 24});
  file.add("model.norm.weight", {24});
  file.add("model.layers.0.self_attn.v_proj.weight", {12, 24});
  file.add("model.layers.0.self_attn.v_proj.bias", {12});
  file.add("model.layers.1.self_attn.v_proj.weight", {12, 24});
  EXPECT_THAT(failure(file, base), HasSubstr("layers.1.self_attn.v_proj.bias is missing"));
  file.add("model.layers.1.self_attn.v_proj.bias", {12});
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  EXPECT_EQ((*adapter)->report().coverage(), "applied 2 of 2 targets, 5 modules saved whole");
  Random random(4);
  const Tensor x = random_tensor(random, {3, 24}, 1.0f);
  const Tensor& w = file.tensor("model.layers.0.self_attn.v_proj.weight");
  EXPECT_LT(relative_difference(apply_one(base, "model.layers.0.self_attn.v_proj", adapter->get(), x),
                                dense({w.f32(), w.f32() + w.elements()},
                                      file.tensor("model.layers.0.self_attn.v_proj.bias").f32(), x, 12)),
            3e-6);
  EXPECT_EQ((*adapter)->norm_gain(base.targets().find("model.norm"))[5], file.at("model.norm.weight", 5));
  EXPECT_EQ((*adapter)->embedding()->own_table[40], file.at("model.embed_tokens.weight", 40));
  EXPECT_EQ((*adapter)->norm_gain(base.targets().find("model.layers.0.input_layernorm")), nullptr);
}

TEST(LoraTest, TrainableTokens) {
  for (const bool tied : {false, true}) {
    for (const bool many : {false, true}) {
      const SmallBase base({.tied = tied});
      SmallFile file = lora_on_q(2, base);
      const int count = many ? 5 : 2;  // five of 24 dimensions: the head is stored whole
      file.set("trainable_token_indices",
               many ? list({value(9), value(3), value(20), value(1), value(29)}) : list({value(9), value(3)}));
      file.add("model.embed_tokens.token_adapter.trainable_tokens_delta", {count, 24});
      const auto adapter = file.build(base);
      ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
      const Tensor table = merge_embedding(base.at("model.embed_tokens"), (*adapter)->embedding());
      const Tensor head = merge_linear(base.at("lm_head"), (*adapter)->linear(base.targets().find("lm_head"))).weight;
      const Tensor in = base.weight(base.at("model.embed_tokens")), out = base.weight(base.at("lm_head"));
      const float* rows = file.tensor("model.embed_tokens.token_adapter.trainable_tokens_delta").f32();
      EXPECT_EQ(table.f32()[9 * 24 + 1], rows[1]);
      EXPECT_EQ(table.f32()[3 * 24 + 1], rows[24 + 1]);
      EXPECT_EQ(table.f32()[4 * 24 + 1], in.f32()[4 * 24 + 1]);
      EXPECT_NEAR(head.f32()[3 * 24 + 1], tied ? rows[24 + 1] : out.f32()[3 * 24 + 1], 1e-6);
      EXPECT_NEAR(head.f32()[4 * 24 + 1], out.f32()[4 * 24 + 1], 1e-6);
      file.set("trainable_token_indices",
               many ? list({value(9), value(3), value(20), value(1), value(30)}) : list({value(9), value(9)}));
      EXPECT_THAT(failure(file, base), HasSubstr(many ? "has 30" : "has 9 twice"));
    }
  }
}

// A head with LoRA that also follows the tied embedding's tokens: ranks add up, and the limit is on their sum.
TEST(LoraTest, TheRankLimitIsOnTheSum) {
  const SmallBase base({.tied = true});
  SmallFile file({{"peft_type", value("LORA")}, {"r", value(3)}, {"target_modules", list({value("lm_head")})}});
  file.add("lm_head.lora_A.weight", {3, 24});
  file.add("lm_head.lora_B.weight", {30, 3});
  file.set("trainable_token_indices", list({value(9), value(3)}));
  file.add("model.embed_tokens.token_adapter.trainable_tokens_delta", {2, 24});
  EXPECT_EQ(failure(file, base, {.rank_max = 5}), "ok");
  EXPECT_THAT(failure(file, base, {.rank_max = 4}), HasSubstr("add up to 5"));
}

TEST(LoraTest, TrainableTokensOfBothSidesOfATiedBase) {
  const SmallBase base({.tied = true});
  SmallFile file = lora_on_q(2, base);
  file.set("trainable_token_indices", object({{"embed_tokens", list({value(2)})}, {"lm_head", list({value(5)})}}));
  file.add("model.embed_tokens.token_adapter.trainable_tokens_delta", {1, 24});
  EXPECT_THAT(failure(file, base), HasSubstr("lm_head.token_adapter.trainable_tokens_delta is missing"));
  file.add("lm_head.token_adapter.trainable_tokens_delta", {1, 24});
  EXPECT_EQ(failure(file, base), "ok");
  file.set("ensure_weight_tying", value(true));
  EXPECT_THAT(failure(file, base), HasSubstr("ensure_weight_tying"));
  // Equal lists: one tensor for both.
  file.set("trainable_token_indices", object({{"embed_tokens", list({value(2)})}, {"lm_head", list({value(2)})}}));
  EXPECT_THAT(failure(file, base), HasSubstr("lm_head.token_adapter.trainable_tokens_delta belongs to no module"));
  file.remove("lm_head.token_adapter.trainable_tokens_delta");
  EXPECT_EQ(failure(file, base), "ok");
}

// Everything that is wrong with a file is named.
TEST(LoraTest, RefusesByName) {
  const SmallBase base;
  const auto with = [&](const char* field, OrderedJson setting) {
    SmallFile file = lora_on_q(2, base);
    file.set(field, std::move(setting));
    return failure(file, base);
  };
  EXPECT_EQ(with("lora_dropout", value(0.1)), "ok");
  EXPECT_EQ(with("init_lora_weights", value("gaussian")), "ok");
  EXPECT_EQ(with("fan_in_fan_out", value(true)), "ok");
  EXPECT_EQ(with("some_new_field", value(false)), "ok");
  EXPECT_THAT(with("some_new_field", value(1)), HasSubstr("some_new_field"));
  for (const char* field : {"use_qalora", "use_bdlora"}) EXPECT_THAT(with(field, value(true)), HasSubstr(field));
  for (const char* field : {"corda_config", "lora_ga_config", "megatron_config", "arrow_config", "kasa_config",
                            "monteclora_config", "velora_config", "loftq_config"}) {
    EXPECT_THAT(with(field, object({{"x", value(1)}})), HasSubstr(field));
  }
  for (const char* field : {"layer_replication", "alora_invocation_tokens", "target_parameters"}) {
    EXPECT_THAT(with(field, list({value(1)})), HasSubstr(field));
  }
  EXPECT_THAT(with("init_lora_weights", value("pissa")), HasSubstr("pissa"));
  EXPECT_THAT(with("peft_type", value("OFT")), HasSubstr("OFT"));
  EXPECT_THAT(with("r", value(0)), HasSubstr("r is 0"));
  EXPECT_THAT(with("r", value(100000)), HasSubstr("100000"));
  EXPECT_THAT(with("target_modules", list({value("norm"), value("q_proj")})), HasSubstr("model.norm"));
  EXPECT_THAT(with("target_modules", list({value("nowhere")})), HasSubstr("selects no module"));
  EXPECT_THAT(with("target_modules", list({value("q_proj"), value("k_proj")})),
              HasSubstr("k_proj.lora_A.weight is missing"));
  EXPECT_THAT(with("layers_to_transform", value(0)), HasSubstr("layers.1.self_attn.q_proj.lora_A.weight"));
}

TEST(LoraTest, RefusesBadTensorsByName) {
  const SmallBase base;
  SmallFile file = lora_on_q(2, base);
  file.add("model.layers.7.self_attn.q_proj.lora_A.weight", {2, 24});
  EXPECT_THAT(failure(file, base), HasSubstr("layers.7.self_attn.q_proj.lora_A.weight belongs to no module"));
  file = lora_on_q(2, base);
  file.add(std::string(kQ0) + ".lora_A.weight", {2, 25});
  EXPECT_THAT(failure(file, base),
              HasSubstr("has shape [2, 25], but this base model and adapter_config.json ask for [2, 24]"));
  file = lora_on_q(2, base);
  file.tensor(std::string(kQ0) + ".lora_B.weight").f32()[11] = std::nanf("");
  EXPECT_THAT(failure(file, base), HasSubstr("not finite (element 11)"));
  file = lora_on_q(2, base);
  file.add_raw("base_model.model." + std::string(kQ0) + ".lora_A.weight", Tensor(DType::kI8, {2, 24}));
  EXPECT_THAT(failure(file, base), HasSubstr("has type i8"));
}

TEST(LoraTest, SixteenBitModeRoundsFactorsOnly) {
  const SmallBase base({.stored = DType::kBF16});
  SmallFile file = lora_on_q(4, base);
  file.set("use_dora", value(true));
  for (const std::string layer : {"0", "1"}) {
    file.add("model.layers." + layer + ".self_attn.q_proj.lora_magnitude_vector", {24}, 0.2f, 2.0f);
  }
  const auto adapter = file.build(base, {.factor_dtype = DType::kBF16});
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  const int32_t index = base.targets().find(kQ0);
  EXPECT_EQ((*adapter)->linear(index)->low_rank[0].dtype, DType::kBF16);
  // The rows of the merged weight have exactly the magnitude: the norm saw the rounded factors.
  const Tensor merged = merge_linear(base.at(kQ0), (*adapter)->linear(index)).weight;
  for (int64_t o = 0; o < 24; ++o) {
    double norm = 0.0;
    for (int64_t i = 0; i < 24; ++i) norm += double{merged.f32()[o * 24 + i]} * merged.f32()[o * 24 + i];
    EXPECT_NEAR(std::sqrt(norm), file.at(std::string(kQ0) + ".lora_magnitude_vector", o), 1e-5);
  }
}

}  // namespace
}  // namespace umbel
