#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace umbel {
namespace {

// The known answers for Philox 4x32-10 that the paper's authors publish with their library (Random123, kat_vectors).
TEST(Random, PhiloxGivesTheKnownAnswers) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(0xffffffffffffffffull, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ull, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, AStreamIsAFunctionOfItsKey) {
  Random a(7);
  Random b(7);
  Random other(8);
  int differences = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint32_t value = a.next_u32();
    EXPECT_EQ(value, b.next_u32());
    differences += value != other.next_u32();
  }
  EXPECT_GT(differences, 990);
  Random copy = a;
  EXPECT_EQ(copy.next_u64(), a.next_u64());
}

TEST(Random, SplitStreamsDoNotDependOnWhatWasDrawn) {
  Random drawn(5);
  for (int i = 0; i < 9; ++i) (void)drawn.next_u32();
  EXPECT_EQ(drawn.split(3).next_u64(), Random(5).split(3).next_u64());
  EXPECT_NE(drawn.split(3).next_u64(), drawn.split(4).next_u64());
}

TEST(Random, MixedKeysDependOnEveryWordAndTheirOrder) {
  std::set<uint64_t> keys;
  for (uint64_t a = 0; a < 40; ++a) {
    for (uint64_t b = 0; b < 40; ++b) keys.insert(mix_key({a, b}));
    keys.insert(mix_key({a}));
  }
  EXPECT_EQ(keys.size(), 40u * 41u);
}

TEST(Random, NextBelowIsUniform) {
  Random random(11);
  for (uint64_t bound : {1ull, 2ull, 3ull, 7ull, 10ull}) {
    std::vector<int> counts(bound, 0);
    const int draws = 70'000;
    for (int i = 0; i < draws; ++i) ++counts[random.next_below(bound)];
    const double mean = static_cast<double>(draws) / static_cast<double>(bound);
    for (int count : counts) EXPECT_NEAR(count, mean, 6 * std::sqrt(mean) + 1) << bound;
  }
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.next_below(0x8000000000000001ull), 0x8000000000000001ull);
}

TEST(Random, DoublesAndNormalsHaveTheirMoments) {
  Random random(13);
  const int draws = 200'000;
  double sum = 0;
  double normal_sum = 0;
  double normal_squares = 0;
  double fourth = 0;
  for (int i = 0; i < draws; ++i) {
    const double value = random.next_double();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    const double normal = random.next_normal();
    ASSERT_TRUE(std::isfinite(normal));
    normal_sum += normal;
    normal_squares += normal * normal;
    fourth += normal * normal * normal * normal;
  }
  EXPECT_NEAR(sum / draws, 0.5, 0.005);
  EXPECT_NEAR(normal_sum / draws, 0.0, 0.02);
  EXPECT_NEAR(normal_squares / draws, 1.0, 0.02);
  EXPECT_NEAR(fourth / draws, 3.0, 0.15);
}

}  // namespace
}  // namespace umbel
