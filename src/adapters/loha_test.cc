#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/served_rank.h"
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

constexpr const char* kPath = "model.layers.1.mlp.down_proj";

// down_proj of both layers: [24, 40].
SmallFile loha_file(int rank) {
  SmallFile file({{"peft_type", value("LOHA")}, {"r", value(rank)}, {"alpha", value(6)}, {"target_modules", list({value("down_proj")})}});
  for (const std::string layer : {"0", "1"}) {
    const std::string path = "model.layers." + layer + ".mlp.down_proj.";
    for (const char* name : {"hada_w1_a", "hada_w2_a"}) file.add(path + name, {24, rank});
    for (const char* name : {"hada_w1_b", "hada_w2_b"}) file.add(path + name, {rank, 40});
  }
  return file;
}

double entry(SmallFile& file, const std::string& which, int64_t o, int64_t i, int64_t rank) {
  double sum = 0;
  const std::string path = std::string(kPath) + ".hada_" + which;
  for (int64_t j = 0; j < rank; ++j) sum += double{file.at(path + "_a", o * rank + j)} * file.at(path + "_b", j * 40 + i);
  return sum;
}

TEST(LohaTest, TheUpdateIsTheHadamardProductOfTwoProducts) {
  const SmallBase base;
  for (const int rank : {1, 3}) {
    SmallFile file = loha_file(rank);
    const auto adapter = file.build(base);
    ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
    EXPECT_EQ((*adapter)->rank_max(), rank * rank);
    EXPECT_EQ((*adapter)->report().kind, "loha");
    const Target& target = base.at(kPath);
    const Tensor w = base.weight(target);
    std::vector<double> merged(w.f32(), w.f32() + w.elements());
    for (int64_t o = 0; o < target.out; ++o) {
      for (int64_t i = 0; i < target.in; ++i) {
        merged[o * target.in + i] += 6.0 / rank * entry(file, "w1", o, i, rank) * entry(file, "w2", o, i, rank);
      }
    }
    Random random(3);
    const Tensor x = random_tensor(random, {4, target.in}, 1.0f);
    EXPECT_LT(relative_difference(apply_one(base, kPath, adapter->get(), x), dense(merged, nullptr, x, target.out)), 3e-6);
  }
}

// What is allocated is r * r rows, so that is what a limit speaks of, before anything is multiplied out.
TEST(LohaTest, ARankLimitCountsTheRankThatIsServed) {
  const SmallBase base;
  EXPECT_TRUE(loha_file(4).build(base, {.rank_max = 16}).ok());
  const auto refused = loha_file(5).build(base, {.rank_max = 16});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kTooLong);
  EXPECT_THAT(refused.status().message(), HasSubstr("the rank 5, served as rank 25, at model.layers.0.mlp.down_proj is over the limit of 16"));
  EXPECT_EQ(served_rank("LOHA", 5), 25);
  EXPECT_EQ(served_rank("LORA", 5), 5);
  EXPECT_EQ(served_rank("LOHA", int64_t{1} << 40), INT64_MAX);
}

TEST(LohaTest, WhatDoesNotFitIsNamed) {
  const SmallBase base;
  SmallFile file = loha_file(2);
  file.remove(std::string(kPath) + ".hada_w2_a");
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("down_proj.hada_w2_a is missing"));
  file.add(std::string(kPath) + ".hada_w2_a", {24, 3});
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("hada_w2_a has shape [24, 3]"));
  file = loha_file(2);
  file.add(std::string(kPath) + ".hada_t1", {2, 2, 1, 1});
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("hada_t1 belongs to no module"));
  file = loha_file(2);
  file.set("target_modules", list({value("down_proj"), value("embed_tokens")}));
  EXPECT_THAT(file.build(base).status().message(), HasSubstr("embed_tokens, a module that this kind of adapter can't change"));
}

}  // namespace
}  // namespace umbel
