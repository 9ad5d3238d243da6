#include "engine/sampling_defaults.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

SamplingDefaults file(std::optional<bool> do_sample, std::optional<double> temperature) {
  SamplingDefaults defaults;
  defaults.do_sample = do_sample;
  defaults.temperature = temperature;
  return defaults;
}

TEST(SamplingDefaults, OneFileMeansOneThingForTheServerAndTheTerminal) {
  for (const Unsaid unsaid : {Unsaid::kSampled, Unsaid::kGreedy}) {
    EXPECT_EQ(default_sampling(file(false, 0.7), unsaid).temperature, 0.0f);
    EXPECT_EQ(default_sampling(file(false, {}), unsaid).temperature, 0.0f);
    EXPECT_EQ(default_sampling(file(true, 0.5), unsaid).temperature, 0.5f);
    EXPECT_EQ(default_sampling(file(true, {}), unsaid).temperature, 1.0f);
    EXPECT_EQ(default_sampling(file({}, 0.5), unsaid).temperature, 0.5f);
  }
}

TEST(SamplingDefaults, WhatTheFileLeavesOpenIsTheSurfaces) {
  EXPECT_EQ(default_sampling({}, Unsaid::kSampled).temperature, 1.0f);
  EXPECT_EQ(default_sampling({}, Unsaid::kGreedy).temperature, 0.0f);
}

TEST(SamplingDefaults, TheOtherFieldsApplyAsTheyStand) {
  SamplingDefaults defaults = file(false, {});
  defaults.top_k = -1;  // some files write "off" so
  defaults.top_p = 0.9;
  defaults.min_p = 0.25;
  defaults.typical_p = 0.5;
  defaults.repetition_penalty = 1.25;
  const SamplingParams params = default_sampling(defaults, Unsaid::kGreedy);
  EXPECT_EQ(params.top_k, 0);
  EXPECT_EQ(params.top_p, 0.9f);
  EXPECT_EQ(params.min_p, 0.25f);
  EXPECT_EQ(params.typical_p, 0.5f);
  EXPECT_EQ(params.repetition_penalty, 1.25f);
  defaults.top_k = int64_t{1} << 40;
  EXPECT_EQ(default_sampling(defaults, Unsaid::kGreedy).top_k, INT32_MAX);
}

}  // namespace
}  // namespace umbel
