#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

SmallFile ia3_file() {
  SmallFile file({{"peft_type", value("IA3")},
                  {"target_modules", list({value("k_proj"), value("down_proj")})},
                  {"feedforward_modules", list({value("down_proj")})}});
  for (const std::string layer : {"0", "1"}) {
    file.add("model.layers." + layer + ".self_attn.k_proj.ia3_l", {12, 1}, 0.3f, 1.0f);
    file.add("model.layers." + layer + ".mlp.down_proj.ia3_l", {1, 40}, 0.3f, 1.0f);
  }
  return file;
}

TEST(Ia3Test, ScalesOutputsWithTheBiasAndInputs) {
  const SmallBase base({.bias = true});
  SmallFile file = ia3_file();
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  EXPECT_EQ((*adapter)->report().coverage(), "applied 4 of 4 targets");
  Random random(3);

  const Target& k = base.at("model.layers.1.self_attn.k_proj");
  const Tensor x = random_tensor(random, {4, 24}, 1.0f);
  const Tensor w_k = base.weight(k);
  std::vector<double> scaled(w_k.f32(), w_k.f32() + w_k.elements());
  std::vector<float> bias(12);
  for (int64_t o = 0; o < 12; ++o) {
    const float l = file.at(k.path + ".ia3_l", o);
    for (int64_t i = 0; i < 24; ++i) scaled[o * 24 + i] *= l;
    bias[o] = l * k.vector[o];
  }
  EXPECT_LT(relative_difference(apply_one(base, k.path, adapter->get(), x), dense(scaled, bias.data(), x, 12)), 3e-6);

  const Target& down = base.at("model.layers.0.mlp.down_proj");
  const Tensor z = random_tensor(random, {4, 40}, 1.0f);
  const Tensor w_d = base.weight(down);
  std::vector<double> columns(w_d.f32(), w_d.f32() + w_d.elements());
  for (int64_t o = 0; o < 24; ++o) {
    for (int64_t i = 0; i < 40; ++i) columns[o * 40 + i] *= file.at(down.path + ".ia3_l", i);
  }
  EXPECT_LT(relative_difference(apply_one(base, down.path, adapter->get(), z), dense(columns, nullptr, z, 24)), 3e-6);
}

TEST(Ia3Test, SidesFollowTheField) {
  const SmallBase base;
  SmallFile file = ia3_file();
  file.set("feedforward_modules", value(".*down_proj"));  // a string is a pattern
  EXPECT_TRUE(file.build(base).ok());
  file.set("feedforward_modules", list({value("own_proj")}));  // a list matches endings without a dot
  EXPECT_TRUE(file.build(base).ok());
  file.set("feedforward_modules", OrderedJson());  // absent: the shapes tell
  EXPECT_TRUE(file.build(base).ok());
  file.set("feedforward_modules", list({value("k_proj")}));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("k_proj.ia3_l has shape [12, 1]"));
}

TEST(Ia3Test, RefusesByName) {
  const SmallBase base;
  SmallFile file = ia3_file();
  file.set("use_qalora", value(true));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("use_qalora"));
  file = ia3_file();
  file.set("target_modules", list({value("k_proj"), value("down_proj"), value("embed_tokens")}));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("model.embed_tokens"));
  file = ia3_file();
  file.remove("model.layers.1.self_attn.k_proj.ia3_l");
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("layers.1.self_attn.k_proj.ia3_l is missing"));
}

}  // namespace
}  // namespace umbel
