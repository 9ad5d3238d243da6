// The frequencies as transformers gives them are proven by tests/goldens/models; here are the rules' own edges.
#include "nn/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "adapters/test_support.h"

namespace umbel {
namespace {

std::vector<float> frequencies(const RopeConfig& config, int64_t head_dim, int64_t length = 1) {
  std::vector<float> inv(head_dim / 2);
  Rope(config, head_dim).frequencies(length, inv);
  return inv;
}

std::vector<float> angles(const Rope& rope, std::vector<int32_t> positions, std::vector<int32_t> lengths, int64_t dim,
                          int threads = 1) {
  testing::TestContext test(4096, threads);
  std::vector<float> out(positions.size() * dim);
  rope.angles(test.context, positions, lengths, MatrixF(out.data(), static_cast<int64_t>(positions.size()), dim));
  EXPECT_EQ(test.scratch.peak_bytes(), size_t{0});
  return out;
}

TEST(RopeTest, DefaultAndLinear) {
  const std::vector<float> plain = frequencies({.theta = 100.0}, 4);
  EXPECT_FLOAT_EQ(plain[0], 1.0f);
  EXPECT_FLOAT_EQ(plain[1], 0.1f);
  const std::vector<float> linear = frequencies({.type = RopeType::kLinear, .theta = 100.0, .factor = 4.0}, 4);
  EXPECT_FLOAT_EQ(linear[0], 0.25f);
  EXPECT_FLOAT_EQ(linear[1], 0.025f);
}

TEST(RopeTest, AnglesAreCosineThenSine) {
  const std::vector<float> out = angles(Rope({.theta = 100.0}, 4), {0, 7}, {}, 4);
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 4), (std::vector<float>{1, 1, 0, 0}));
  EXPECT_NEAR(out[4], std::cos(7.0), 1e-6);
  EXPECT_NEAR(out[5], std::cos(0.7), 1e-6);
  EXPECT_NEAR(out[6], std::sin(7.0), 1e-6);
  EXPECT_NEAR(out[7], std::sin(0.7), 1e-6);
}

TEST(RopeTest, DynamicKeepsThePlainFrequenciesWithinTheOriginalLengthAndLooksAtEachRowsLength) {
  const RopeConfig config{.type = RopeType::kDynamic, .theta = 10000.0, .factor = 2.0,
                          .original_max_position_embeddings = 16};
  EXPECT_EQ(frequencies(config, 8, 16), frequencies({.theta = 10000.0}, 8));
  const std::vector<float> grown = frequencies(config, 8, 24);
  const double theta = 10000.0 * std::pow(2.0 * 24 / 16 - 1.0, 8.0 / 6.0);
  for (size_t i = 0; i < grown.size(); ++i) EXPECT_NEAR(grown[i], std::pow(theta, -2.0 * i / 8.0), 1e-6 * grown[i]);
  // Rows of several sequences in one call, in any order of lengths, on any number of threads.
  const Rope rope(config, 8);
  const std::vector<float> both = angles(rope, {5, 5, 5, 5}, {24, 6, 24, 32}, 8, 2);
  EXPECT_EQ(std::vector<float>(both.begin(), both.begin() + 8), angles(rope, {5}, {24}, 8));
  EXPECT_EQ(std::vector<float>(both.begin() + 8, both.begin() + 16), angles(rope, {5}, {6}, 8));
  EXPECT_EQ(std::vector<float>(both.begin() + 16, both.begin() + 24), angles(rope, {5}, {24}, 8));
  EXPECT_EQ(std::vector<float>(both.begin() + 24, both.end()), angles(rope, {5}, {32}, 8));
}

TEST(RopeTest, Llama3KeepsShortWavelengthsAndDividesLongOnes) {
  const RopeConfig config{.type = RopeType::kLlama3, .theta = 500000.0, .factor = 8.0, .low_freq_factor = 1.0,
                          .high_freq_factor = 4.0, .original_max_position_embeddings = 8192};
  const std::vector<float> plain = frequencies({.theta = 500000.0}, 128);
  const std::vector<float> scaled = frequencies(config, 128);
  EXPECT_EQ(scaled.front(), plain.front());
  EXPECT_EQ(scaled.back(), plain.back() / 8.0f);
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_LE(scaled[i], plain[i]);
    EXPECT_GE(scaled[i], plain[i] / 8.0f);
    EXPECT_LT(scaled[i], i == 0 ? 2.0f : scaled[i - 1]);
  }
}

TEST(RopeTest, YarnAttentionFactor) {
  RopeConfig config{.type = RopeType::kYarn, .factor = 4.0, .original_max_position_embeddings = 4096};
  EXPECT_FLOAT_EQ(Rope(config, 64).attention_factor(), static_cast<float>(0.1 * std::log(4.0) + 1.0));
  config.mscale = 1.0;
  config.mscale_all_dim = 1.0;
  EXPECT_FLOAT_EQ(Rope(config, 64).attention_factor(), 1.0f);
  config.mscale_all_dim = 0.0;  // counts as not given
  EXPECT_FLOAT_EQ(Rope(config, 64).attention_factor(), static_cast<float>(0.1 * std::log(4.0) + 1.0));
  config.attention_factor = 0.75;
  const Rope rope(config, 64);
  EXPECT_FLOAT_EQ(rope.attention_factor(), 0.75f);
  EXPECT_FLOAT_EQ(angles(rope, {0}, {}, 64)[0], 0.75f);
  EXPECT_EQ(Rope({.factor = 4.0}, 64).attention_factor(), 1.0f);
}

}  // namespace
}  // namespace umbel
