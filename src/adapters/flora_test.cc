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
using testing::random_tensor;
using testing::relative_difference;
using testing::SmallBase;
using testing::SmallFile;
using testing::value;

constexpr const char* kQ0 = "model.layers.0.self_attn.q_proj";

SmallFile flora_file(int rank) {
  SmallFile file({{"peft_type", value("FLORA")},
                  {"flora_format", value(1)},
                  {"r", value(rank)},
                  {"target_modules", list({value("layers.0.self_attn.q_proj")})}});
  file.add(std::string(kQ0) + ".flora_A", {rank, 24}, 0.4f, 1.0f);
  file.add(std::string(kQ0) + ".flora_B", {24, rank}, 0.4f, 1.0f);
  return file;
}

// W o (plus + s B A) in double; offset is added to what the file holds, a missing tensor is ones.
struct Form {
  double s = 1;
  double plus = 0;
  double offset = 0;
  bool b_missing = false;
};

std::vector<double> modulated(const SmallBase& base, SmallFile& file, int64_t rank, const Form& form) {
  const auto [s, plus, offset, b_missing] = form;

  const Tensor w = base.weight(base.at(kQ0));
  std::vector<double> merged(w.f32(), w.f32() + w.elements());
  for (int64_t o = 0; o < 24; ++o) {
    for (int64_t i = 0; i < 24; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < rank; ++k) {
        const double b = b_missing ? 1.0 : file.at(std::string(kQ0) + ".flora_B", o * rank + k) + offset;
        sum += b * (file.at(std::string(kQ0) + ".flora_A", k * 24 + i) + offset);
      }
      merged[o * 24 + i] *= plus + s * sum;
    }
  }
  return merged;
}

void expect_equal(const SmallBase& base, const SmallFile& file, const std::vector<double>& w, const float* bias) {
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  Random random(3);
  const Tensor x = random_tensor(random, {4, 24}, 1.0f);
  EXPECT_LT(relative_difference(apply_one(base, kQ0, adapter->get(), x), dense(w, bias, x, 24)), 5e-6);
}

TEST(FloraTest, MultiplicativeFormOfAnyRank) {
  const SmallBase base({.bias = true});
  const float* bias = base.at(kQ0).vector;
  for (const int rank : {1, 2, 7, 33}) {
    SmallFile file = flora_file(rank);
    expect_equal(base, file, modulated(base, file, rank, {1.0 / rank, 0.0}), bias);
    EXPECT_EQ((*file.build(base))->cost(), rank);
    file.set("reduction", value("sum"));
    expect_equal(base, file, modulated(base, file, rank, {1.0, 0.0}), bias);
    file.set("flora_alpha", value(3));
    expect_equal(base, file, modulated(base, file, rank, {3.0 / rank, 0.0}), bias);
  }
}

TEST(FloraTest, AlphaPatternComesBeforeTheReduction) {
  const SmallBase base;
  SmallFile file = flora_file(4);
  file.set("alpha_pattern", testing::object({{"q_proj", value(10)}}));
  expect_equal(base, file, modulated(base, file, 4, {2.5, 0.0}), nullptr);
  file.set("alpha_pattern", testing::object({{"k_proj", value(10)}}));
  expect_equal(base, file, modulated(base, file, 4, {0.25, 0.0}), nullptr);
}

TEST(FloraTest, ResidualFormAddsThePlainTerm) {
  const SmallBase base;
  SmallFile file = flora_file(3);
  file.set("form", value("residual"));
  expect_equal(base, file, modulated(base, file, 3, {1.0 / 3, 1.0}), nullptr);
  EXPECT_EQ((*file.build(base))->cost(), 4);
}

TEST(FloraTest, BiasMayPassThroughTheTerms) {
  const SmallBase base({.bias = true});
  SmallFile file = flora_file(2);
  file.set("scale_bias", value(true));
  std::vector<float> bias(24);
  for (int64_t o = 0; o < 24; ++o) {
    bias[o] = 0.5f *
              (file.at(std::string(kQ0) + ".flora_B", o * 2) + file.at(std::string(kQ0) + ".flora_B", o * 2 + 1)) *
              base.at(kQ0).vector[o];
  }
  expect_equal(base, file, modulated(base, file, 2, {0.5, 0.0}), bias.data());
}

TEST(FloraTest, OffsetsAndMissingFactors) {
  const SmallBase base;
  SmallFile file = flora_file(2);
  file.set("store_offset", value(true));
  expect_equal(base, file, modulated(base, file, 2, {0.5, 0.0, 1.0}), nullptr);
  file.set("store_offset", value(false));
  file.remove(std::string(kQ0) + ".flora_B");
  expect_equal(base, file, modulated(base, file, 2, {0.5, 0.0, 0.0, true}), nullptr);
  file.remove(std::string(kQ0) + ".flora_A");
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("both missing"));
}

TEST(FloraTest, HiraIsTheResidualFormWithScaleOne) {
  const SmallBase base({.bias = true});
  SmallFile flora = flora_file(3);
  SmallFile hira(
      {{"peft_type", value("HIRA")}, {"r", value(3)}, {"target_modules", list({value("layers.0.self_attn.q_proj")})}});
  for (const char* side : {"A", "B"}) {
    hira.add_raw("base_model.model." + std::string(kQ0) + ".hira_" + side,
                 Tensor::widened(flora.tensor(std::string(kQ0) + ".flora_" + side).view()));
  }
  expect_equal(base, hira, modulated(base, flora, 3, {1.0, 1.0}), base.at(kQ0).vector);
  hira.set("rank_pattern", testing::object({{"q_proj", value(5)}}));  // ignored by PEFT: the file's rank r counts
  expect_equal(base, hira, modulated(base, flora, 3, {1.0, 1.0}), base.at(kQ0).vector);
  EXPECT_EQ((*hira.build(base))->report().warnings.size(), 1u);
  hira.set("r", value(4));
  EXPECT_FALSE(hira.build(base).ok());
  hira.set("r", value(3));
  hira.remove(std::string(kQ0) + ".hira_B");
  EXPECT_FALSE(hira.build(base).ok());  // only FLoRA's own format lets a factor be left out
}

TEST(FloraTest, EmbeddingBecomesATable) {
  const SmallBase base;
  SmallFile file({{"peft_type", value("FLORA")}, {"r", value(2)}, {"target_modules", list({value("embed_tokens")})}});
  file.add("model.embed_tokens.flora_embedding_A", {2, 30});
  file.add("model.embed_tokens.flora_embedding_B", {24, 2});
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  const Tensor w = base.weight(base.at("model.embed_tokens"));
  const Tensor table = merge_embedding(base.at("model.embed_tokens"), (*adapter)->embedding());
  for (int64_t t = 0; t < 30; ++t) {
    for (int64_t i = 0; i < 24; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < 2; ++k) {
        sum += double{file.at("model.embed_tokens.flora_embedding_A", k * 30 + t)} *
               file.at("model.embed_tokens.flora_embedding_B", i * 2 + k);
      }
      EXPECT_NEAR(table.f32()[t * 24 + i], 0.5 * sum * w.f32()[t * 24 + i], 1e-6);
    }
  }
}

TEST(FloraTest, RefusesByName) {
  const SmallBase base;
  for (const auto& [field, setting] : std::map<std::string, OrderedJson>{
           {"form", value("other")}, {"reduction", value("max")}, {"flora_format", value(2)}, {"gates", value(3)}}) {
    SmallFile file = flora_file(2);
    file.set(field, setting);
    EXPECT_THAT(file.build(base).status().message(), HasSubstr(field));
  }
}

}  // namespace
}  // namespace umbel
