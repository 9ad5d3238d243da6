#include "adapters/low_rank_compare.h"

#include <gtest/gtest.h>

#include <cmath>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using testing::random_tensor;

LoraModule random_module(uint64_t seed, int64_t rank, float scale) {
  Random random(mix_key({seed}));
  LoraModule module{.a = random_tensor(random, {rank, 19}), .b = random_tensor(random, {13, rank})};
  module.scale = scale;
  return module;
}

std::vector<float> dense(const LoraModule& module) {
  std::vector<float> made(static_cast<size_t>(module.out() * module.in()));
  for (int64_t o = 0; o < module.out(); ++o) {
    for (int64_t i = 0; i < module.in(); ++i) {
      double sum = 0;
      for (int64_t k = 0; k < module.rank(); ++k) sum += static_cast<double>(module.b.f32()[o * module.rank() + k]) * module.a.f32()[k * module.in() + i];
      made[o * module.in() + i] = static_cast<float>(module.scale * sum);
    }
  }
  return made;
}

void expect_same(const LoraModule& first, const LoraModule& second) {
  const std::vector<float> one = dense(first), two = dense(second);
  const UpdateComparison wanted = compare_dense(one.data(), two.data(), static_cast<int64_t>(one.size()));
  const UpdateComparison got = compare_low_rank(first, second);
  EXPECT_NEAR(got.first, wanted.first, 1e-5 * wanted.first);
  EXPECT_NEAR(got.second, wanted.second, 1e-5 * wanted.second);
  EXPECT_NEAR(got.difference, wanted.difference, 1e-5 * wanted.difference);
  EXPECT_NEAR(got.cosine, wanted.cosine, 1e-5);
}

TEST(LowRankCompareTest, EqualsTheDenseComparison) {
  expect_same(random_module(1, 3, 2.0f), random_module(2, 3, 0.5f));
  expect_same(random_module(1, 1, 2.0f), random_module(2, 8, -0.5f));
}

TEST(LowRankCompareTest, EqualUpdatesDifferByExactlyNothingAndNearOnesByLittle) {
  const LoraModule module = random_module(1, 4, 2.0f);
  const UpdateComparison same = compare_low_rank(module, random_module(1, 4, 2.0f));
  EXPECT_EQ(same.difference, 0.0);
  EXPECT_NEAR(same.cosine, 1.0, 1e-12);
  LoraModule near = random_module(1, 4, 2.0f);
  float& entry = near.a.f32()[5];
  const double step = static_cast<double>(std::nextafter(entry, 10.0f)) - entry;
  entry = std::nextafter(entry, 10.0f);
  double column = 0;  // |scale * B[:, 0]|
  for (int64_t o = 0; o < 13; ++o) column += std::pow(2.0 * near.b.f32()[o * 4], 2);
  EXPECT_NEAR(compare_low_rank(module, near).difference, step * std::sqrt(column), 1e-3 * step * std::sqrt(column));
}

TEST(LowRankCompareTest, ZeroHasNoDirection) {
  const LoraModule module = random_module(1, 4, 2.0f), zero = random_module(1, 4, 0.0f);
  const UpdateComparison compared = compare_low_rank(module, zero);
  EXPECT_EQ(compared.second, 0.0);
  EXPECT_EQ(compared.cosine, 0.0);
  EXPECT_DOUBLE_EQ(compared.difference, compared.first);
}

}  // namespace
}  // namespace umbel
