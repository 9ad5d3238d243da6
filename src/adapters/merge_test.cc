#include "adapters/merge.h"

#include <gtest/gtest.h>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using testing::apply_one;
using testing::list;
using testing::random_tensor;
using testing::SmallBase;
using testing::SmallFile;
using testing::value;

constexpr const char* kK0 = "model.layers.0.self_attn.k_proj";

SmallFile file_of(const std::string& kind) {
  const std::string path(kK0);
  SmallFile file({{"target_modules", list({value("layers.0.self_attn.k_proj")})}});
  if (kind == "lora" || kind == "dora") {
    file.set("peft_type", value("LORA"));
    file.set("r", value(5));
    file.add(path + ".lora_A.weight", {5, 24});
    file.add(path + ".lora_B.weight", {12, 5});
    if (kind == "dora") {
      file.set("use_dora", value(true));
      file.add(path + ".lora_magnitude_vector", {12}, 0.2f, 3.0f);
    }
  } else if (kind == "ia3") {
    file.set("peft_type", value("IA3"));
    file.set("feedforward_modules", list({}));
    file.add(path + ".ia3_l", {12, 1}, 0.3f, 1.0f);
  } else if (kind == "ia3-input") {
    file.set("peft_type", value("IA3"));
    file.set("feedforward_modules", list({value("k_proj")}));
    file.add(path + ".ia3_l", {1, 24}, 0.3f, 1.0f);
  } else if (kind == "vera") {
    file.set("peft_type", value("VERA"));
    file.set("r", value(9));
    Random random(5);
    file.add_raw("base_model.vera_A", random_tensor(random, {9, 30}));
    file.add_raw("base_model.vera_B", random_tensor(random, {20, 9}));
    file.add(path + ".vera_lambda_d", {9});
    file.add(path + ".vera_lambda_b", {12});
  } else if (kind == "saved") {
    file.set("peft_type", value("LORA"));
    file.set("target_modules", list({}));
    file.set("modules_to_save", list({value("layers.0.self_attn.k_proj")}));
    file.add(path + ".weight", {12, 24});
    file.add(path + ".bias", {12});
  } else {
    file.set("peft_type", value("FLORA"));
    file.set("r", value(4));
    file.set("form", value(kind == "flora" ? "multiplicative" : "residual"));
    file.set("scale_bias", value(true));
    file.add(path + ".flora_A", {4, 24}, 0.5f, 1.0f);
    file.add(path + ".flora_B", {12, 4}, 0.5f, 1.0f);
  }
  return file;
}

// y of the adapter equals y of a base whose weights and bias were replaced by the merged ones.
class MergeTest : public ::testing::TestWithParam<std::string> {};

TEST_P(MergeTest, MergedWeightsComputeTheSame) {
  const SmallBase base({.bias = true});
  const auto adapter = file_of(GetParam()).build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  const int32_t index = base.targets().find(kK0);
  ASSERT_NE((*adapter)->linear(index), nullptr);
  const MergedLinear merged = merge_linear(base.at(kK0), (*adapter)->linear(index));
  Random random(8);
  const Tensor x = random_tensor(random, {6, 24}, 1.0f);
  const Tensor y = apply_one(base, kK0, adapter->get(), x);
  const std::vector<double> w(merged.weight.f32(), merged.weight.f32() + merged.weight.elements());
  EXPECT_LT(testing::relative_difference(y, testing::dense(w, merged.bias.f32(), x, 12)), 3e-6);
  // The adapter does something: a merge that ignored it would be seen.
  const Tensor plain = apply_one(base, kK0, nullptr, x);
  EXPECT_GT(testing::relative_difference(plain, testing::dense(w, merged.bias.f32(), x, 12)), 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Kinds, MergeTest,
                         ::testing::Values("lora", "dora", "ia3", "ia3-input", "vera", "flora", "residual", "saved"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(MergeBaseTest, NoTermsGiveTheBase) {
  const SmallBase base({.bias = true});
  const MergedLinear merged = merge_linear(base.at(kK0), nullptr);
  const Tensor w = base.weight(base.at(kK0));
  for (int64_t i = 0; i < w.elements(); ++i) EXPECT_EQ(merged.weight.f32()[i], w.f32()[i]);
  EXPECT_EQ(merged.bias.f32()[3], base.at(kK0).vector[3]);
  EXPECT_TRUE(merge_linear(base.at("model.layers.0.self_attn.o_proj"), nullptr).bias.empty());
}

}  // namespace
}  // namespace umbel
