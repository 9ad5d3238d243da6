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

constexpr int64_t kRank = 6;

// Projections wider than any selected module, as a file has them that was trained on more modules.
SmallFile vera_file(uint64_t seed = 1) {
  SmallFile file({{"peft_type", value("VERA")},
                  {"r", value(static_cast<int>(kRank))},
                  {"save_projection", value(true)},
                  {"target_modules", list({value("k_proj"), value("down_proj")})}},
                 seed);
  Random shared(mix_key({123}));
  file.add_raw("base_model.vera_A", random_tensor(shared, {kRank, 43}));
  file.add_raw("base_model.vera_B", random_tensor(shared, {31, kRank}));
  for (const std::string layer : {"0", "1"}) {
    file.add("model.layers." + layer + ".self_attn.k_proj.vera_lambda_b", {12});
    file.add("model.layers." + layer + ".self_attn.k_proj.vera_lambda_d", {kRank});
    file.add("model.layers." + layer + ".mlp.down_proj.vera_lambda_b", {24});
    file.add("model.layers." + layer + ".mlp.down_proj.vera_lambda_d", {kRank});
  }
  return file;
}

TEST(VeraTest, SlicesTheSharedProjections) {
  const SmallBase base({.bias = true});
  SmallFile file = vera_file();
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  Random shared(mix_key({123})), random(3);
  const Tensor a = random_tensor(shared, {kRank, 43});
  const Tensor b = random_tensor(shared, {31, kRank});
  for (const char* path : {"model.layers.1.self_attn.k_proj", "model.layers.0.mlp.down_proj"}) {
    const Target& target = base.at(path);
    const Tensor w = base.weight(target);
    std::vector<double> merged(w.f32(), w.f32() + w.elements());
    for (int64_t o = 0; o < target.out; ++o) {
      for (int64_t i = 0; i < target.in; ++i) {
        for (int64_t j = 0; j < kRank; ++j) {
          merged[o * target.in + i] += double{file.at(target.path + ".vera_lambda_b", o)} * b.f32()[o * kRank + j] *
                                       file.at(target.path + ".vera_lambda_d", j) * a.f32()[j * 43 + i];
        }
      }
    }
    const Tensor x = random_tensor(random, {4, target.in}, 1.0f);
    EXPECT_LT(
        relative_difference(apply_one(base, path, adapter->get(), x), dense(merged, target.vector, x, target.out)),
        3e-6);
  }
}

TEST(VeraTest, AdaptersShareEqualProjections) {
  const SmallBase base;
  SharedTensors pool;
  auto first = vera_file(1).build(base, {.shared = &pool});
  ASSERT_TRUE(first.ok()) << first.status().to_string();
  EXPECT_EQ(pool.size(), 2u);
  auto second = vera_file(2).build(base, {.shared = &pool});
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(pool.size(), 2u);
  const int32_t index = base.targets().find("model.layers.0.self_attn.k_proj");
  EXPECT_EQ((*first)->linear(index)->low_rank[0].a, (*second)->linear(index)->low_rank[0].a);
  SmallFile changed = vera_file(3);
  Random other(7);
  changed.add_raw("base_model.vera_A", random_tensor(other, {kRank, 43}));
  const auto third = changed.build(base, {.shared = &pool});
  ASSERT_TRUE(third.ok());
  EXPECT_EQ(pool.size(), 3u);
  *first = nullptr;
  *second = nullptr;
  EXPECT_EQ(pool.size(), 2u);
}

TEST(VeraTest, RefusesByName) {
  const SmallBase base;
  SmallFile file = vera_file();
  file.set("save_projection", value(false));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("save_projection=true"));
  file = vera_file();
  Random random(7);
  file.add_raw("base_model.vera_A", random_tensor(random, {kRank, 39}));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("vera_A has shape [6, 39]"));
  file = vera_file();
  file.add_raw("base_model.vera_B", random_tensor(random, {31, kRank + 1}));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("vera_B has shape [31, 7]"));
  file = vera_file();
  file.remove("model.layers.0.self_attn.k_proj.vera_lambda_d");
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("k_proj.vera_lambda_d is missing"));
}

}  // namespace
}  // namespace umbel
