// Activations, the soft cap, LayerNorm, partial rotation and copies of heads, of every ISA against kernels/ref in double; their mirrors
// against the reference's, which dual numbers check; and the same bits alone and in a crowd.
#include <algorithm>

#include "kernels/api_vjp.h"
#include "kernels/dual.h"
#include "kernels/ref/activation.h"
#include "kernels/ref/row.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::difference;
using testing::Dual;
using testing::normal;
using testing::same_bits;
using testing::wide;

const int64_t kLengths[] = {1, 3, 15, 16, 17, 100, 255, 256, 700};
constexpr Activation kAll[] = {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu, Activation::kRelu};

class Activations : public testing::EveryIsa {};
UMBEL_EVERY_ISA(Activations);

TEST_P(Activations, AgreeWithTheReferenceGatedAndNot) {
  Bench bench(GetParam());
  Random random(1);
  for (const Activation kind : kAll) {
    for (const int64_t n : kLengths) {
      const std::vector<float> gate = normal(random, n, 4.0f), up = normal(random, n);
      std::vector<float> y(n);
      std::vector<double> expected(n);
      const std::vector<double> gd = wide(gate), ud = wide(up);
      for (const bool gated : {false, true}) {
        activation(bench.context, kind, {{gate.data(), 1, n}, gated ? ConstMatrixF(up.data(), 1, n) : ConstMatrixF()}, {y.data(), 1, n});
        ref::activation_forward(kind, gd.data(), gated ? ud.data() : nullptr, expected.data(), n);
        EXPECT_LT(difference(y, expected), 1e-6) << static_cast<int>(kind) << " " << n;
      }
    }
  }
}

// Every digit of the exact form counts on the far negative side, too: relative to each value, not to the largest.
TEST_P(Activations, TheExactGeluKeepsItsDigitsOverTheWholeRange) {
  Bench bench(GetParam());
  std::vector<float> z;
  for (float x = -12.0f; x <= 12.0f; x += 0.0137f) z.push_back(x);
  const auto n = static_cast<int64_t>(z.size());
  std::vector<float> y(n);
  activation(bench.context, Activation::kGelu, {{z.data(), 1, n}}, {y.data(), 1, n});
  for (int64_t i = 0; i < n; ++i) {
    const double expected = 0.5 * z[i] * std::erfc(-z[i] / std::sqrt(2.0));
    EXPECT_NEAR(y[i], expected, 4e-6 * std::abs(expected) + 1e-37) << z[i];
  }
}

TEST_P(Activations, GeluFormsAreTwoFunctions) {
  Bench bench(GetParam());
  const float z = 1.0f;
  float tanh_form = 0, exact = 0;
  activation(bench.context, Activation::kGeluTanh, {{&z, 1, 1}}, {&tanh_form, 1, 1});
  activation(bench.context, Activation::kGelu, {{&z, 1, 1}}, {&exact, 1, 1});
  EXPECT_NEAR(tanh_form, 0.8411920, 1e-6);
  EXPECT_NEAR(exact, 0.8413447, 1e-6);
}

TEST_P(Activations, MirrorsAgreeWithTheReference) {
  Bench bench(GetParam());
  Random random(2);
  for (const Activation kind : kAll) {
    for (const int64_t n : kLengths) {
      std::vector<float> gate = normal(random, n, 3.0f), up = normal(random, n), dgate(n), dup(n);
      const std::vector<float> dy = normal(random, n);
      const std::vector<double> gd = wide(gate), ud = wide(up), dyd = wide(dy);
      std::vector<double> expected_gate(n), expected_up(n);
      const auto row = [n](std::vector<float>& v) { return MatrixF(v.data(), 1, n); };
      ref::activation_vjp(kind, {gd.data(), ud.data(), dyd.data()}, expected_gate.data(), expected_up.data(), n);
      activation_vjp(bench.context, kind, {row(gate), row(up)}, {dy.data(), 1, n}, {row(dgate), row(dup)});
      EXPECT_LT(difference(dgate, expected_gate), 5e-6) << static_cast<int>(kind) << " " << n;
      EXPECT_LT(difference(dup, expected_up), 5e-6) << static_cast<int>(kind) << " " << n;
      ref::activation_vjp<double>(kind, {gd.data(), nullptr, dyd.data()}, expected_gate.data(), nullptr, n);
      activation_vjp(bench.context, kind, {row(gate)}, {dy.data(), 1, n}, {row(gate)});  // over the input
      EXPECT_LT(difference(gate, expected_gate), 5e-6) << static_cast<int>(kind) << " " << n;
    }
  }
}

TEST_P(Activations, SoftCapAndItsMirror) {
  Bench bench(GetParam());
  Random random(3);
  for (const int64_t n : kLengths) {
    std::vector<float> x = normal(random, n, 40.0f), dx = normal(random, n);
    std::vector<double> expected = wide(x), expected_dx = wide(dx);
    soft_cap(bench.context, 30.0f, {x.data(), 1, n});
    ref::soft_cap_forward(30.0, expected.data(), n);
    EXPECT_LT(difference(x, expected), 1e-6) << n;
    ref::soft_cap_vjp(30.0, expected.data(), expected_dx.data(), n);
    soft_cap_vjp(bench.context, 30.0f, {x.data(), 1, n}, {dx.data(), 1, n});
    EXPECT_LT(difference(dx, expected_dx), 1e-5) << n;
  }
  float ends[] = {1e30f, -1e30f, 0.0f, -1e-20f};
  soft_cap(bench.context, 50.0f, {ends, 1, 4});
  EXPECT_EQ(ends[0], 50.0f);
  EXPECT_EQ(ends[1], -50.0f);
  EXPECT_EQ(ends[2], 0.0f);
  EXPECT_LE(std::abs(ends[3]), 1e-20f);
}

TEST_P(Activations, LayerNormAndItsMirror) {
  Bench bench(GetParam());
  Random random(4);
  const int64_t rows = 6;
  for (const int64_t n : kLengths) {
    if (n == 1) continue;  // one entry alone is its mean
    std::vector<float> x = normal(random, rows * n);
    for (float& value : x) value += 3.0f;  // a mean to take away
    const std::vector<float> gain = normal(random, n), bias = normal(random, n), dy = normal(random, rows * n);
    const std::vector<double> xd = wide(x), gd = wide(gain), bd = wide(bias), dyd = wide(dy);
    std::vector<double> expected(rows * n), expected_dx(rows * n), expected_dgain(n, 0.0);
    for (int64_t i = 0; i < rows; ++i) {
      ref::layer_norm_forward(&xd[i * n], {gd.data(), bd.data(), 1e-5}, &expected[i * n], n);
      ref::layer_norm_vjp(&xd[i * n], {gd.data(), bd.data(), 1e-5}, &dyd[i * n], {&expected_dx[i * n], expected_dgain.data()}, n);
    }
    std::vector<float> y(rows * n), dx(rows * n), dgain(n, 0.0f);
    const ConstMatrixF x_view(x.data(), rows, n), dy_view(dy.data(), rows, n);
    const Affine affine{.gain = {.shared = gain.data()}, .bias = {.shared = bias.data()}, .epsilon = 1e-5f};
    layer_norm(bench.context, x_view, affine, {y.data(), rows, n});
    EXPECT_LT(difference(y, expected), 5e-6) << n;
    layer_norm_vjp(bench.context, x_view, affine, dy_view, {{dx.data(), rows, n}, Write::kOverwrite});
    EXPECT_LT(difference(dx, expected_dx), 2e-5) << n;
    std::vector<float> added(rows * n, 1.0f);
    layer_norm_vjp(bench.context, x_view, affine, dy_view, {{added.data(), rows, n}, Write::kAdd});
    for (int64_t i = 0; i < rows * n; ++i) EXPECT_EQ(added[i], 1.0f + dx[i]);
    const RowsGradient gradients[] = {{0, 2, dgain.data()}, {2, 4, dgain.data()}};
    layer_norm_vjp_gain(bench.context, x_view, 1e-5f, dy_view, gradients);
    EXPECT_LT(difference(dgain, expected_dgain), 5e-6) << n;
    // A row alone, and in place.
    std::vector<float> alone(x.begin() + 2 * n, x.begin() + 3 * n);
    layer_norm(bench.context, {alone.data(), 1, n}, affine, {alone.data(), 1, n});
    EXPECT_TRUE(same_bits(alone.data(), y.data() + 2 * n, n));
  }
}

TEST_P(Activations, APartOfEveryHeadTurns) {
  Bench bench(GetParam());
  Random random(5);
  const int64_t dim = 20, heads = 3;
  for (const int64_t rotary : {2, 8, 18}) {
    std::vector<float> x = normal(random, heads * dim);
    const std::vector<float> angles = normal(random, rotary), before = x;
    std::vector<double> expected = wide(x);
    const std::vector<double> ad = wide(angles);
    ref::rope_forward(ad.data(), {heads, dim, rotary}, expected.data());
    rope(bench.context, {angles.data(), 1, rotary}, dim, {x.data(), 1, heads * dim});
    EXPECT_LT(difference(x, expected), 1e-6);
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t d = rotary; d < dim; ++d) EXPECT_EQ(x[head * dim + d], before[head * dim + d]);
    }
    ref::rope_vjp(ad.data(), {heads, dim, rotary}, expected.data());
    rope_vjp(bench.context, {angles.data(), 1, rotary}, dim, {x.data(), 1, heads * dim});
    EXPECT_LT(difference(x, expected), 1e-5);
  }
}

TEST_P(Activations, HeadsAreCopiedThereAndBack) {
  Bench bench(GetParam());
  Random random(6);
  const int64_t heads = 3, dim = 5, rows = 4, width = heads * dim;
  const std::vector<float> x = normal(random, rows * 3 * width);
  std::vector<float> blocks(x.size()), back(x.size());
  for (const int64_t part : {0, 1, 2}) {
    copy_heads(bench.context, {x.data(), rows, 3 * width}, {heads, dim, part * dim, 3 * dim, part * width, dim}, {blocks.data(), rows, 3 * width});
  }
  EXPECT_EQ(blocks[width + dim], x[3 * dim + dim]);  // k of head 1
  for (const int64_t part : {0, 1, 2}) {
    copy_heads(bench.context, {blocks.data(), rows, 3 * width}, {heads, dim, part * width, dim, part * dim, 3 * dim}, {back.data(), rows, 3 * width});
  }
  EXPECT_EQ(back, x);
}

TEST_P(Activations, OddSizesHaveTheBitsOfLargeOnes) {
  Bench bench(GetParam());
  Random random(7);
  const std::vector<float> z = normal(random, 64, 5.0f);
  for (const Activation kind : kAll) {
    std::vector<float> whole(64), part(64);
    activation(bench.context, kind, {{z.data(), 1, 64}}, {whole.data(), 1, 64});
    for (int64_t n = 1; n < 64; ++n) {
      activation(bench.context, kind, {{z.data(), 1, n}}, {part.data(), 1, n});
      EXPECT_TRUE(same_bits(whole.data(), part.data(), n)) << n;
    }
  }
}

// The mirrors of the reference itself, in every direction, against dual numbers.
double seen_by_duals(Activation kind, double z) {
  Dual x{z, 1.0}, y;
  ref::activation_forward<Dual>(kind, &x, nullptr, &y, 1);
  return y.tangent;
}

TEST(ActivationReference, SlopesAgreeWithDualNumbers) {
  for (const Activation kind : kAll) {
    for (const double z : {-6.0, -1.3, -0.2, 0.4, 1.0, 3.5}) {
      const double one = 1;
      double slope = 0;
      ref::activation_vjp<double>(kind, {&z, nullptr, &one}, &slope, nullptr, 1);
      EXPECT_NEAR(slope, seen_by_duals(kind, z), 1e-12) << static_cast<int>(kind) << " at " << z;
    }
  }
  for (const double x : {-70.0, -3.0, 0.1, 20.0}) {
    Dual dual{x, 1.0};
    ref::soft_cap_forward<Dual>(Dual(30.0), &dual, 1);
    double slope = 1;
    ref::soft_cap_vjp(30.0, &dual.value, &slope, 1);
    EXPECT_NEAR(slope, dual.tangent, 1e-12);
  }
}

TEST(ActivationReference, LayerNormAgreesWithDualNumbers) {
  Random random(8);
  const int64_t n = 9;
  const std::vector<double> x = wide(normal(random, n)), gain = wide(normal(random, n)), dy = wide(normal(random, n));
  std::vector<double> dx(n), dgain(n, 0.0);
  ref::layer_norm_vjp(x.data(), {gain.data(), nullptr, 1e-3}, dy.data(), {dx.data(), dgain.data()}, n);
  for (int64_t i = 0; i < 2 * n; ++i) {
    std::vector<Dual> xs(x.begin(), x.end()), gains(gain.begin(), gain.end()), y(n);
    (i < n ? xs[i] : gains[i - n]).tangent = 1;
    ref::layer_norm_forward<Dual>(xs.data(), {gains.data(), nullptr, Dual(1e-3)}, y.data(), n);
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += dy[j] * y[j].tangent;
    EXPECT_NEAR(i < n ? dx[i] : dgain[i - n], sum, 1e-10) << i;
  }
}

}  // namespace
}  // namespace umbel::kernels
