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

const std::vector<std::string>& paths() {
  static const std::vector<std::string> kPaths = {"model.layers.0.self_attn.k_proj", "model.layers.0.mlp.down_proj",
                                                  "model.layers.1.self_attn.k_proj", "model.layers.1.mlp.down_proj"};
  return kPaths;
}

// k_proj [12, 24] and down_proj [24, 40]; mini_r 0 = the plain form.
SmallFile miss_file(const SmallBase& base, int rank, int mini_r = 0) {
  SmallFile file({{"peft_type", value("MISS")}, {"r", value(rank)}, {"target_modules", list({value("k_proj"), value("down_proj")})}});
  if (mini_r > 0) {
    file.set("mini_r", value(mini_r));
    file.set("init_weights", value("mini"));
  }
  for (const std::string& path : paths()) file.add(path + ".miss_block", {rank, mini_r > 0 ? mini_r : base.at(path).out});
  return file;
}

TEST(MissTest, EveryShardOfTheInputsHasTheSameBlock) {
  const SmallBase base({.bias = true});
  for (const auto& [rank, mini_r] : {std::pair{1, 0}, {8, 0}, {7, 0}, {24, 0}, {5, 6}, {3, 1}}) {  // 7: the last shard is shorter
    SmallFile file = miss_file(base, rank, mini_r);
    const auto adapter = file.build(base);
    ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
    Random random(3);
    for (const std::string& path : paths()) {
      const Target& target = base.at(path);
      const Tensor w = base.weight(target);
      const int64_t width = mini_r > 0 ? mini_r : target.out;
      std::vector<double> merged(w.f32(), w.f32() + w.elements());
      for (int64_t o = 0; o < target.out; ++o) {
        for (int64_t i = 0; i < target.in; ++i) merged[o * target.in + i] += file.at(path + ".miss_block", i % rank * width + o % width);
      }
      const Tensor x = random_tensor(random, {4, target.in}, 1.0f);
      EXPECT_LT(relative_difference(apply_one(base, path, adapter->get(), x), dense(merged, target.vector, x, target.out)), 3e-6)
          << path << " " << rank << " " << mini_r;
    }
  }
}

// The sums are no parameter: modules of a width, and adapters that meet, have one.
TEST(MissTest, ModulesAndAdaptersOfAWidthShareTheSums) {
  const SmallBase base;
  SharedTensors pool;
  const auto first = miss_file(base, 4).build(base, {.shared = &pool}), second = miss_file(base, 4).build(base, {.shared = &pool});
  ASSERT_TRUE(first.ok() && second.ok());
  const auto sums = [&](const Adapter& adapter, const std::string& path) {
    return adapter.linear(base.targets().find(path))->low_rank.at(0).a;
  };
  EXPECT_EQ(sums(**first, paths()[0]), sums(**first, paths()[2]));
  EXPECT_EQ(sums(**first, paths()[1]), sums(**second, paths()[3]));
  EXPECT_NE(sums(**first, paths()[0]), sums(**first, paths()[1]));
}

TEST(MissTest, WhatDoesNotFitIsNamed) {
  const SmallBase base;
  EXPECT_THAT(miss_file(base, 25).build(base).status().message(), HasSubstr("r is 25, more than the 24 inputs of model.layers.0.self_attn.k_proj"));
  EXPECT_THAT(miss_file(base, 4, 5).build(base).status().message(), HasSubstr("mini_r is 5, which does not divide the 12 outputs"));
  SmallFile file = miss_file(base, 4);
  file.set("init_weights", value("bat"));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("init_weights is 'bat'"));
  file.set("init_weights", value("bad"));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("init_weights is 'bad'"));
  file = miss_file(base, 4);
  file.remove(paths()[1] + ".miss_block");
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("down_proj.miss_block is missing"));
}

}  // namespace
}  // namespace umbel
