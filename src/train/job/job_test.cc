#include "train/job/job.h"

#include <gtest/gtest.h>

namespace umbel::train {
namespace {

TEST(Job, NamesOfKindsGoThereAndBack) {
  for (const char* name : {"lora", "rslora", "lora-plus", "qlora", "dora", "vera", "ia3", "flora", "flora-residual"}) {
    const auto kind = parse_train_kind(name);
    ASSERT_TRUE(kind.ok()) << name;
    EXPECT_EQ(train_kind_name(*kind), name);
  }
  const auto unknown = parse_train_kind("lorra");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("flora-residual"), std::string::npos) << "the known ones are listed";
  EXPECT_EQ(parse_optimizer("sgd").value(), OptimizerKind::kSgd);
  EXPECT_EQ(parse_flora_init("ones_noise").value(), FloraInit::kOnesNoise);
}

// A refusal names what is wrong.
void expect_refused(const JobSpec& spec, const std::string& word) {
  const Status status = check_job(spec);
  ASSERT_EQ(status.code(), Code::kInvalidArgument) << word;
  EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
  EXPECT_NE(status.message().find(spec.name), std::string::npos) << status.message();
}

TEST(Job, WhatHasNoMeaningIsRefusedByName) {
  EXPECT_TRUE(check_job({}).ok());
  EXPECT_TRUE(check_job({.kind = TrainKind::kVera, .dropout = 0.1}).ok());
  expect_refused({.kind = TrainKind::kIa3, .dropout = 0.1}, "dropout has no meaning for ia3");
  expect_refused({.kind = TrainKind::kFlora, .dropout = 0.1}, "dropout has no meaning for flora");
  expect_refused({.dropout = 1.0}, "dropout");
  expect_refused({.kind = TrainKind::kIa3, .rank_pattern = {{"q_proj", 4}}}, "rank_pattern");
  expect_refused({.kind = TrainKind::kFlora, .alpha_pattern = {{"q_proj", 4}}}, "alpha_pattern");
  expect_refused({.kind = TrainKind::kVera, .lora_plus_ratio = 4}, "lora_plus_ratio");
  expect_refused({.kind = TrainKind::kFlora, .weight_decay = 0.1}, "weight decay");
  expect_refused({.momentum = 0.9}, "momentum");
}

TEST(Job, TheDegenerateStartOfFloraIsRefusedAboveRankOne) {
  EXPECT_TRUE(check_job({.kind = TrainKind::kFlora, .rank = 1, .flora_init = FloraInit::kOnes}).ok());
  EXPECT_TRUE(check_job({.kind = TrainKind::kFlora, .rank = 4, .flora_init = FloraInit::kOnesNoise}).ok());
  expect_refused({.kind = TrainKind::kFlora, .rank = 2, .flora_init = FloraInit::kOnes}, "degenerate");
  expect_refused({.kind = TrainKind::kFlora, .rank = 1, .rank_pattern = {{"q_proj", 2}}, .flora_init = FloraInit::kOnes}, "degenerate");
  expect_refused({.kind = TrainKind::kFlora, .flora_init = FloraInit::kResidual}, "flora-residual");
  expect_refused({.kind = TrainKind::kFloraResidual, .flora_init = FloraInit::kIdentityLora}, "residual");
  expect_refused({.kind = TrainKind::kLora, .flora_init = FloraInit::kOnes}, "FLoRA");
}

TEST(Job, TargetsAreSaidOneWay) {
  expect_refused({.targets = {"q_proj"}, .all_linear = true}, "targets");
  expect_refused({.target_regex = ".*q_proj", .all_linear = true}, "targets");
  expect_refused({.target_regex = ".*q_proj", .layers = {1}}, "layers");
  expect_refused({.layers = {-1}}, "layer -1");
  expect_refused({.rank = 0}, "rank 0");
  expect_refused({.rank_pattern = {{"q_proj", 5000}}}, "q_proj");
}

}  // namespace
}  // namespace umbel::train
