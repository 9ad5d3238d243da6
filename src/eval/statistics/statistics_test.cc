// Intervals and tests against scipy's figures (binomtest: proportion_ci(method="wilson"), pvalue) and against what they promise.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "eval/statistics/interval.h"
#include "eval/statistics/paired.h"

namespace umbel::eval {
namespace {

TEST(Statistics, WilsonIsScipys) {
  const struct {
    int64_t right, rows;
    double low, high;
  } kCases[] = {{0, 10, 0, 0.27753279986288926},
                {8, 10, 0.4901624715366418, 0.9433178485456248},
                {10, 10, 0.7224672001371109, 1},
                {1, 3, 0.06149194472039626, 0.7923403991979523},
                {512, 1000, 0.48103255440609083, 0.5428756033902556}};
  for (const auto& one : kCases) {
    const Interval interval = wilson(one.right, one.rows);
    EXPECT_NEAR(interval.low, one.low, 1e-12);
    EXPECT_NEAR(interval.high, one.high, 1e-12);
  }
  EXPECT_EQ(wilson(0, 0).method, "none");
}

TEST(Statistics, McNemarIsTheBinomialTest) {
  EXPECT_EQ(mcnemar_p(0, 0), 1);
  EXPECT_NEAR(mcnemar_p(5, 0), 0.0625, 1e-12);
  EXPECT_NEAR(mcnemar_p(3, 9), 0.14599609375, 1e-12);
  EXPECT_NEAR(mcnemar_p(40, 22), 0.030015864349067285, 1e-12);
  EXPECT_NEAR(mcnemar_p(700, 600), 0.0060157938610449395, 1e-11);
  EXPECT_EQ(mcnemar_p(1, 1), 1);
}

// Of samples from a known distribution, about 95 % of the intervals hold its mean.
TEST(Statistics, BootstrapIntervalsHoldTheMeanAsOftenAsTheySay) {
  Random draw(3);
  int held = 0;
  constexpr int kSamples = 100;
  for (int sample = 0; sample < kSamples; ++sample) {
    std::vector<double> values(30);
    for (double& value : values) value = draw.next_double();
    const Interval interval = bootstrap(values, static_cast<uint64_t>(sample));
    EXPECT_EQ(interval.method, "bootstrap");
    held += interval.low <= 0.5 && 0.5 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(held, 88);
  EXPECT_LT(held, 100);
}

TEST(Statistics, TheSameSeedGivesTheSameBits) {
  std::vector<double> values;
  for (int i = 0; i < 50; ++i) values.push_back(i % 7 / 7.0);
  EXPECT_EQ(bootstrap(values, 1).low, bootstrap(values, 1).low);
  EXPECT_NE(bootstrap(values, 1).low, bootstrap(values, 2).low);
  EXPECT_EQ(interval_of(std::vector<double>{1, 0, 1}, 1).method, "wilson");
  EXPECT_EQ(interval_of(std::vector<double>{1, 0, 0.5}, 1).method, "bootstrap");
  EXPECT_EQ(bootstrap_rounds(1000), kBootstrapRounds);
  EXPECT_EQ(bootstrap_rounds(100'000'000), 200);
}

TEST(Statistics, PairedTestsSeeADifferenceAndNoneWhereThereIsNone) {
  Random draw(5);
  std::vector<double> base(100), better(100), same(100);
  for (size_t i = 0; i < base.size(); ++i) {
    base[i] = draw.next_double();
    better[i] = base[i] + 0.05 + 0.05 * draw.next_double();
    same[i] = base[i] + 0.2 * (draw.next_double() - 0.5);
  }
  const PairedTest lifted = paired_test(better, base, 1);
  EXPECT_EQ(lifted.method, "paired bootstrap");
  EXPECT_NEAR(lifted.difference, 0.075, 0.01);
  EXPECT_NEAR(lifted.p, 1.0 / (kBootstrapRounds + 1), 1e-12);
  EXPECT_GT(paired_test(same, base, 1).p, 0.05);
  EXPECT_EQ(paired_test(base, base, 1).p, 1);
  // Unpaired, a lift of .075 under a spread of .29 in 100 rows would not be seen: the pairing is what sees it.
  const PairedTest binary = paired_test(std::vector<double>{1, 1, 1, 1, 1, 0}, std::vector<double>{0, 0, 0, 0, 0, 0}, 1);
  EXPECT_EQ(binary.method, "mcnemar");
  EXPECT_NEAR(binary.p, 0.0625, 1e-12);
  EXPECT_EQ(paired_test({}, {}, 1).method, "none");
}

TEST(Statistics, HolmCorrectsInOrderOfSize) {
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005};
  const auto corrected = holm(p);
  const double expected[] = {0.03, 0.06, 0.06, 0.02};
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(corrected[i], expected[i], 1e-12);
  EXPECT_EQ(holm(std::vector<double>{0.9, 0.8}), (std::vector<double>{1, 1}));
  EXPECT_TRUE(holm({}).empty());
}

}  // namespace
}  // namespace umbel::eval
