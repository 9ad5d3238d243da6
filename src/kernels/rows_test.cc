// Row-wise kernels of every ISA against kernels/ref in double, over odd lengths, misaligned rows and strides.
#include <algorithm>

#include "kernels/ref/activation.h"
#include "kernels/ref/row.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::difference;
using testing::normal;
using testing::same_bits;
using testing::wide;

constexpr double kTolerance = 2e-6;
const int64_t kLengths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 255, 256, 1000};

class Rows : public testing::EveryIsa {};
UMBEL_EVERY_ISA(Rows);

// A matrix of `rows` whose rows start at odd addresses with a stride larger than the columns.
struct Odd {
  Odd(Random& random, int64_t rows, int64_t cols) : data(normal(random, rows * (cols + 3) + 1)), cols(cols), rows(rows) {}
  MatrixF view() { return {data.data() + 1, rows, cols, cols + 3}; }
  std::vector<float> data;
  int64_t cols;
  int64_t rows;
};

TEST_P(Rows, ExpIsExactToTwoUlpOverTheWholeRange) {
  const Table& table = table_for(GetParam());
  double worst = 0;
  for (int i = 0; i <= 400000; ++i) {
    const float x = -87.3f + 176.0f * static_cast<float>(i) / 400000.0f;
    const double truth = std::exp(static_cast<double>(x));
    if (truth > 3.4e38) continue;
    const float actual = table.sum_exp(&x, 0.0f, 1);
    const double ulp = std::ldexp(1.0, std::ilogb(truth) - 23);
    worst = std::max(worst, std::abs(actual - truth) / ulp);
  }
  EXPECT_LE(worst, 2.0);
  const auto exp_of = [&](float x) { return table.sum_exp(&x, 0.0f, 1); };
  EXPECT_EQ(exp_of(0.0f), 1.0f);
  EXPECT_EQ(exp_of(-200.0f), 0.0f);
  EXPECT_EQ(exp_of(-INFINITY), 0.0f);
  EXPECT_EQ(exp_of(100.0f), INFINITY);
  EXPECT_TRUE(std::isnan(exp_of(NAN)));
}

TEST_P(Rows, NormAgreesWithTheReference) {
  Bench bench(GetParam());
  Random random(1);
  for (int64_t n : kLengths) {
    Odd x(random, 3, n), y(random, 3, n);
    const std::vector<float> gain = normal(random, n);
    const float* each[] = {gain.data(), nullptr, gain.data()};
    rms_norm(bench.context, x.view(), {.each = each}, 1e-5f, y.view());
    for (int64_t i = 0; i < 3; ++i) {
      const std::vector<double> xd(x.view().row(i), x.view().row(i) + n), gd = wide(gain);
      std::vector<double> expected(n);
      ref::rms_norm_forward(xd.data(), each[i] ? gd.data() : nullptr, 1e-5, expected.data(), n);
      EXPECT_LT(difference(y.view().row_span(i), expected), kTolerance) << n;
    }
  }
}

TEST_P(Rows, SwigluAgreesWithTheReferenceAndMayWorkInPlace) {
  Bench bench(GetParam());
  Random random(2);
  for (int64_t n : kLengths) {
    Odd gate(random, 2, n), up(random, 2, n), y(random, 2, n);
    for (float& value : gate.data) value *= 10;
    activation(bench.context, Activation::kSilu, {gate.view(), up.view()}, y.view());
    for (int64_t i = 0; i < 2; ++i) {
      const std::vector<double> g(gate.view().row(i), gate.view().row(i) + n), u(up.view().row(i), up.view().row(i) + n);
      std::vector<double> expected(n);
      ref::activation_forward(Activation::kSilu, g.data(), u.data(), expected.data(), n);
      EXPECT_LT(difference(y.view().row_span(i), expected), kTolerance) << n;
    }
    activation(bench.context, Activation::kSilu, {gate.view(), up.view()}, gate.view());
    EXPECT_TRUE(same_bits(gate.view().row(1), y.view().row(1), n));
  }
}

TEST_P(Rows, SwigluSurvivesLargeGates) {
  Bench bench(GetParam(), 1);
  std::vector<float> gate = {-1e30f, -200.0f, -88.5f, 0.0f, 88.5f, 200.0f, 1e30f}, up(7, 1.0f), y(7);
  activation(bench.context, Activation::kSilu, {{gate.data(), 1, 7}, {up.data(), 1, 7}}, {y.data(), 1, 7});
  EXPECT_EQ(std::abs(y[0]), 0.0f);
  EXPECT_EQ(std::abs(y[1]), 0.0f);
  EXPECT_NEAR(y[2], 0.0f, 1e-35f);
  EXPECT_EQ(y[4], 88.5f);
  EXPECT_EQ(y[6], 1e30f);
}

TEST_P(Rows, RopeAgreesWithTheReference) {
  Bench bench(GetParam());
  Random random(3);
  for (int64_t head_dim : {2, 6, 16, 20, 32, 64, 80, 128}) {
    Odd x(random, 5, 3 * head_dim), angles(random, 5, head_dim);
    std::vector<std::vector<double>> expected;
    for (int64_t i = 0; i < 5; ++i) {
      const std::vector<double> a(angles.view().row(i), angles.view().row(i) + head_dim);
      expected.emplace_back(x.view().row(i), x.view().row(i) + 3 * head_dim);
      ref::rope_forward(a.data(), {3, head_dim, head_dim}, expected.back().data());
    }
    rope(bench.context, angles.view(), head_dim, x.view());
    for (int64_t i = 0; i < 5; ++i) EXPECT_LT(difference(x.view().row_span(i), expected[i]), kTolerance);
  }
}

TEST_P(Rows, GatherAndCombineFollowTheScaleTerms) {
  Bench bench(GetParam());
  Random random(4);
  for (int64_t n : {1, 5, 16, 33, 4096}) {
    Odd x(random, 3, n), expanded(random, 5, n), y(random, 3, n);
    const std::vector<float> pre = normal(random, n), post = normal(random, n);
    const ScaledRow rows[] = {{2, pre.data(), nullptr}, {2, nullptr, post.data()}, {0, nullptr, nullptr},
                              {1, pre.data(), post.data()}, {1, pre.data(), post.data()}};
    const uint8_t first[] = {1, 0, 0, 1, 0};
    const std::vector<float> before(y.view().row(0), y.view().row(0) + n);
    gather_scaled(bench.context, x.view(), rows, expanded.view());
    combine_scaled(bench.context, expanded.view(), rows, first, y.view());
    std::vector<double> expected(3 * n), actual(3 * n);
    for (int64_t i = 0; i < n; ++i) {
      expected[i] = before[i] + x.view().row(0)[i];
      expected[n + i] = 2.0 * pre[i] * post[i] * x.view().row(1)[i];
      expected[2 * n + i] = (static_cast<double>(pre[i]) + post[i]) * x.view().row(2)[i];
      for (int64_t row = 0; row < 3; ++row) actual[row * n + i] = y.view().row(row)[i];
    }
    EXPECT_LT(difference(actual, expected), kTolerance);
  }
}

TEST_P(Rows, BiasAndAdd) {
  Bench bench(GetParam());
  Random random(5);
  Odd x(random, 3, 37), y(random, 3, 37);
  const std::vector<float> bias = normal(random, 37), before = y.data;
  const float* each[] = {bias.data(), nullptr, bias.data()};
  add_bias(bench.context, {.each = each}, y.view());
  for (int64_t i = 0; i < 37; ++i) {
    EXPECT_EQ(y.view().row(0)[i], before[1 + i] + bias[i]);
    EXPECT_EQ(y.view().row(1)[i], before[1 + 40 + i]);
  }
  add_bias(bench.context, {}, y.view());
  add(bench.context, x.view(), y.view());
  EXPECT_EQ(y.view().row(2)[36], before[1 + 80 + 36] + bias[36] + x.view().row(2)[36]);
}

TEST_P(Rows, EmbeddingWidensEveryDTypeFromAnyAddress) {
  Bench bench(GetParam());
  Random random(6);
  const int64_t vocab = 11, dim = 37;
  const std::vector<float> values = normal(random, vocab * dim);
  const std::vector<int32_t> tokens = {10, 0, 3, 3};
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (int shift : {0, 1, 2}) {
      std::vector<char> bytes(vocab * dim * size_of(dtype) + 8), copy(vocab * dim * size_of(dtype));
      narrow_from_f32(values.data(), dtype, copy.data(), values.size());
      std::copy(copy.begin(), copy.end(), bytes.begin() + shift);
      std::vector<float> expected(values.size()), y(tokens.size() * dim);
      widen_to_f32(dtype, copy.data(), expected.data(), values.size());
      embedding(bench.context, {dtype, {vocab, dim}, bytes.data() + shift}, tokens, {y.data(), 4, dim});
      for (size_t i = 0; i < tokens.size(); ++i) {
        EXPECT_TRUE(same_bits(&y[i * dim], &expected[tokens[i] * dim], dim)) << dtype_name(dtype) << " " << shift;
      }
    }
  }
}

TEST_P(Rows, NarrowingRoundsAsTheTensorFloorDoes) {
  const Table& table = table_for(GetParam());
  Random random(7);
  std::vector<float> values = normal(random, 1003);
  for (int i = 0; i < 500; ++i) values[i] = std::bit_cast<float>(random.next_u32());
  values[1002] = NAN;
  values[1001] = INFINITY;
  values[1000] = 3.4e38f;
  std::vector<uint16_t> narrow(values.size());
  table.narrow_bf16(values.data(), narrow.data(), 1003);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(narrow[i], to_bf16(values[i]).bits) << values[i];
}

TEST_P(Rows, ArgmaxTakesTheFirstOfTheLargestAndNoNan) {
  Bench bench(GetParam());
  Random random(8);
  for (int64_t n : kLengths) {
    std::vector<float> values = normal(random, n);
    for (int repeat = 0; repeat < 4; ++repeat) values[random.next_below(n)] = 9.0f;
    values[random.next_below(n)] = NAN;
    int64_t expected = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (std::isnan(values[expected]) ? !std::isnan(values[i]) : values[i] > values[expected]) expected = i;
    }
    EXPECT_EQ(argmax(bench.context, values), expected) << n;
  }
  EXPECT_EQ(argmax(bench.context, std::vector<float>{-INFINITY, NAN}), 0);
  EXPECT_EQ(argmax(bench.context, std::vector<float>{NAN, NAN, NAN}), 0);
  EXPECT_EQ(argmax(bench.context, std::vector<float>(40, -INFINITY)), 0);
}

TEST_P(Rows, LogSumExp) {
  Bench bench(GetParam());
  Random random(9);
  for (int64_t n : kLengths) {
    const std::vector<float> values = normal(random, n, 20.0f);
    const std::vector<double> truth = wide(values);
    EXPECT_NEAR(log_sum_exp(bench.context, values), ref::log_sum_exp_forward(truth.data(), n), 1e-5) << n;
  }
  EXPECT_EQ(log_sum_exp(bench.context, std::vector<float>(5, -INFINITY)), -INFINITY);
}

// The same rows alone, in a crowd, at another alignment and with another number of threads: the same bits.
TEST_P(Rows, ARowDoesNotDependOnItsBatch) {
  Random random(10);
  const int64_t rows = 40, n = 1027;
  Odd x(random, rows, n), up(random, rows, n), angles(random, rows, 26);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2}) {
    Bench bench(GetParam(), threads);
    std::vector<float> norm(rows * n), gated(rows * n);
    rms_norm(bench.context, x.view(), {}, 1e-6f, {norm.data(), rows, n});
    activation(bench.context, Activation::kSilu, {x.view(), up.view()}, {gated.data(), rows, n});
    for (int64_t i = 0; i < rows; ++i) {
      const std::vector<float> moved(x.view().row(i), x.view().row(i) + n);
      std::vector<float> y(n);
      rms_norm(bench.context, {moved.data(), 1, n}, {}, 1e-6f, {y.data(), 1, n});
      EXPECT_TRUE(same_bits(y.data(), &norm[i * n], n));
      activation(bench.context, Activation::kSilu, {{moved.data(), 1, n}, up.view().middle_rows(i, 1)}, {y.data(), 1, n});
      EXPECT_TRUE(same_bits(y.data(), &gated[i * n], n));
    }
    results.push_back(norm);
    results.push_back(gated);
  }
  EXPECT_EQ(results[0], results[2]);
  EXPECT_EQ(results[1], results[3]);
}

}  // namespace
}  // namespace umbel::kernels
