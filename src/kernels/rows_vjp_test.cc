// Backward of the row-wise kernels, the row scale and the loss, of every ISA against kernels/ref in double (5e-6 of the largest
// entry), and the same bits alone and in a crowd.
#include <algorithm>

#include "kernels/api_vjp.h"
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

constexpr double kTolerance = 5e-6;
const int64_t kLengths[] = {1, 3, 15, 16, 17, 100, 255, 256, 700};

class RowsVjp : public testing::EveryIsa {};
UMBEL_EVERY_ISA(RowsVjp);

TEST_P(RowsVjp, RmsNorm) {
  Bench bench(GetParam());
  Random random(1);
  for (int64_t n : kLengths) {
    const int64_t rows = 7;
    const std::vector<float> x = normal(random, rows * n), dy = normal(random, rows * n), gain = normal(random, n);
    std::vector<float> dx = normal(random, rows * n), dgain = normal(random, n);
    std::vector<double> expected_dx = wide(dx), expected_dgain = wide(dgain);
    const std::vector<double> xd = wide(x), dyd = wide(dy), gd = wide(gain);
    for (int64_t i = 0; i < rows; ++i) {
      std::vector<double> row(n);
      ref::rms_norm_vjp(&xd[i * n], gd.data(), 1e-3, &dyd[i * n], row.data(), i < 5 ? expected_dgain.data() : nullptr, n);
      for (int64_t c = 0; c < n; ++c) expected_dx[i * n + c] += row[c];
    }
    const ConstMatrixF x_view(x.data(), rows, n), dy_view(dy.data(), rows, n);
    rms_norm_vjp(bench.context, x_view, {.shared = gain.data()}, 1e-3f, dy_view, {dx.data(), rows, n}, Write::kAdd);
    const RowsGradient gradients[] = {{0, 2, dgain.data()}, {2, 3, dgain.data()}};
    rms_norm_vjp_gain(bench.context, x_view, 1e-3f, dy_view, gradients);
    EXPECT_LT(difference(dx, expected_dx), kTolerance) << n;
    EXPECT_LT(difference(dgain, expected_dgain), kTolerance) << n;
    // Overwriting, over dy itself and without gain.
    std::vector<double> bare(n);
    ref::rms_norm_vjp<double>(xd.data(), nullptr, 1e-3, dyd.data(), bare.data(), nullptr, n);
    std::vector<float> in_place(dy.begin(), dy.begin() + n);
    rms_norm_vjp(bench.context, {x.data(), 1, n}, {}, 1e-3f, {in_place.data(), 1, n}, {in_place.data(), 1, n},
                 Write::kOverwrite);
    if (n > 1) {  // one entry alone has nearly no gradient to compare with
      EXPECT_LT(difference(in_place, bare), kTolerance) << n;
    }
  }
}

TEST_P(RowsVjp, Swiglu) {
  Bench bench(GetParam());
  Random random(2);
  for (int64_t n : kLengths) {
    std::vector<float> gate = normal(random, n, 3.0f), up = normal(random, n), dgate(n), dup(n);
    const std::vector<float> dy = normal(random, n);
    const std::vector<double> gd = wide(gate), ud = wide(up), dyd = wide(dy);
    std::vector<double> expected_gate(n), expected_up(n);
    ref::activation_vjp(Activation::kSilu, {gd.data(), ud.data(), dyd.data()}, expected_gate.data(), expected_up.data(), n);
    const auto row = [n](std::vector<float>& v) { return MatrixF(v.data(), 1, n); };
    activation_vjp(bench.context, Activation::kSilu, {row(gate), row(up)}, {dy.data(), 1, n}, {row(dgate), row(dup)});
    EXPECT_LT(difference(dgate, expected_gate), kTolerance);
    EXPECT_LT(difference(dup, expected_up), kTolerance);
    activation_vjp(bench.context, Activation::kSilu, {row(gate), row(up)}, {dy.data(), 1, n}, {row(gate), row(up)});
    EXPECT_EQ(gate, dgate);
    EXPECT_EQ(up, dup);
  }
}

TEST_P(RowsVjp, Rope) {
  Bench bench(GetParam());
  Random random(3);
  for (int64_t dim : {2, 20, 64}) {
    std::vector<float> dx = normal(random, 3 * 2 * dim), angles = normal(random, 3 * dim);
    std::vector<double> expected = wide(dx), ad = wide(angles);
    for (int64_t i = 0; i < 3; ++i) ref::rope_vjp(&ad[i * dim], {2, dim, dim}, &expected[i * 2 * dim]);
    rope_vjp(bench.context, {angles.data(), 3, dim}, dim, {dx.data(), 3, 2 * dim});
    EXPECT_LT(difference(dx, expected), kTolerance);
  }
}

TEST_P(RowsVjp, RowScale) {
  Bench bench(GetParam());
  Random random(4);
  for (int64_t n : {5, 300, 1000}) {
    const std::vector<float> x = normal(random, 3 * n), de = normal(random, 4 * n), u = normal(random, 4 * n);
    const std::vector<float> dy = normal(random, 3 * n), pre = normal(random, n), post = normal(random, n);
    const ScaledRow entries[] = {{0, pre.data(), post.data()}, {0, nullptr, nullptr}, {1, pre.data(), post.data()},
                                 {2, nullptr, nullptr}};
    const uint8_t first[] = {1, 0, 1, 1};
    std::vector<float> dpre = normal(random, n), dpost = normal(random, n), dx(3 * n, NAN), du(4 * n, NAN);
    std::vector<double> expected_pre = wide(dpre), expected_post = wide(dpost), expected_dx(3 * n), expected_du(4 * n);
    const ScaledRowGradient gradients[] = {{dpre.data(), dpost.data()}, {}, {dpre.data(), dpost.data()}, {}};
    for (int e = 0; e < 4; ++e) {
      const int64_t source = entries[e].source_row;
      for (int64_t c = 0; c < n; ++c) {
        expected_dx[source * n + c] += static_cast<double>(de[e * n + c]) * (entries[e].pre ? pre[c] : 1);
        expected_du[e * n + c] = static_cast<double>(dy[source * n + c]) * (entries[e].post ? post[c] : 1);
        if (gradients[e].pre) expected_pre[c] += static_cast<double>(de[e * n + c]) * x[source * n + c];
        if (gradients[e].post) expected_post[c] += static_cast<double>(dy[source * n + c]) * u[e * n + c];
      }
    }
    const ScaledRows rows = {entries, first, gradients};
    gather_scaled_vjp(bench.context, {x.data(), 3, n}, rows, {de.data(), 4, n}, {dx.data(), 3, n});
    combine_scaled_vjp(bench.context, {u.data(), 4, n}, rows, {dy.data(), 3, n}, {du.data(), 4, n});
    EXPECT_LT(difference(dx, expected_dx), kTolerance);
    EXPECT_LT(difference(du, expected_du), kTolerance);
    EXPECT_LT(difference(dpre, expected_pre), kTolerance);
    EXPECT_LT(difference(dpost, expected_post), kTolerance);
  }
}

TEST_P(RowsVjp, CrossEntropy) {
  Bench bench(GetParam());
  Random random(5);
  for (int64_t n : kLengths) {
    std::vector<float> logits = normal(random, 3 * n, 4.0f);
    const std::vector<double> ld = wide(logits);
    const std::vector<int32_t> labels = {static_cast<int32_t>(n - 1), -1, 0};
    const std::vector<float> weights = {0.25f, 1.0f, 2.0f};
    std::vector<float> losses(3), d(3 * n, NAN);
    std::vector<double> expected(3 * n, 0.0);
    for (int i : {0, 2}) ref::cross_entropy_vjp(&ld[i * n], labels[i], double{weights[i]}, &expected[i * n], n);
    cross_entropy(bench.context, {logits.data(), 3, n}, labels, losses);
    cross_entropy_vjp(bench.context, {logits.data(), 3, n}, labels, weights, {d.data(), 3, n});
    for (int i : {0, 2}) EXPECT_NEAR(losses[i], ref::cross_entropy_forward(&ld[i * n], labels[i], n), 1e-5);
    EXPECT_EQ(losses[1], 0.0f);
    for (size_t i = 0; i < d.size(); ++i) EXPECT_NEAR(d[i], expected[i], 1e-5) << n;
    cross_entropy_vjp(bench.context, {logits.data(), 3, n}, labels, weights, {logits.data(), 3, n});
    EXPECT_EQ(logits, d);
  }
}

TEST_P(RowsVjp, SumsOverRows) {
  Bench bench(GetParam());
  Random random(6);
  const int64_t rows = 201, in = 70, out = 300;
  const std::vector<float> dy = normal(random, rows * out), x = normal(random, rows * in);
  std::vector<float> dw = normal(random, out * in), dbias(out, 1.0f), dtable(5 * out, 0.0f);
  std::vector<double> expected_w = wide(dw), expected_bias(out, 1.0), expected_table(5 * out, 0.0);
  std::vector<int32_t> tokens(rows);
  for (int64_t i = 0; i < rows; ++i) {
    tokens[i] = random.next_below(5);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t k = 0; k < in; ++k) expected_w[o * in + k] += static_cast<double>(dy[i * out + o]) * x[i * in + k];
      expected_table[tokens[i] * out + o] += dy[i * out + o];
      if (i >= 10) expected_bias[o] += dy[i * out + o];
    }
  }
  const ConstMatrixF dy_view(dy.data(), rows, out);
  matmul_vjp_w(bench.context, dy_view, {x.data(), rows, in}, {dw.data(), out, in});
  EXPECT_LE(bench.scratch.peak_bytes(), matmul_vjp_w_scratch_bytes(rows, out));
  const RowsGradient gradient = {10, rows - 10, dbias.data()};
  add_bias_vjp(bench.context, dy_view, {&gradient, 1});
  embedding_vjp(bench.context, tokens, dy_view, {dtable.data(), 5, out});
  EXPECT_LT(difference(dw, expected_w), kTolerance);
  EXPECT_LT(difference(dbias, expected_bias), kTolerance);
  EXPECT_LT(difference(dtable, expected_table), kTolerance);
}

// A job's gradients do not depend on where its rows stand, on its neighbours, or on threads.
TEST_P(RowsVjp, AJobDoesNotDependOnTheCrowd) {
  Random random(7);
  const int64_t rows = 90, n = 517;
  const int32_t begin = 31, count = 40;
  const std::vector<float> x = normal(random, rows * n), dy = normal(random, rows * n);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2}) {
    Bench bench(GetParam(), threads);
    for (const bool alone : {false, true}) {
      const int64_t first = alone ? begin : 0;
      const ConstMatrixF x_view(&x[first * n], alone ? count : rows, n), dy_view(&dy[first * n], alone ? count : rows, n);
      std::vector<float> dx(rows * n), dgain(n, 0.0f), dbias(n, 0.0f);
      const RowsGradient gain = {static_cast<int32_t>(begin - first), count, dgain.data()};
      const RowsGradient bias = {static_cast<int32_t>(begin - first), count, dbias.data()};
      rms_norm_vjp(bench.context, x_view, {}, 1e-3f, dy_view, {dx.data(), x_view.rows, n}, Write::kOverwrite);
      rms_norm_vjp_gain(bench.context, x_view, 1e-3f, dy_view, {&gain, 1});
      add_bias_vjp(bench.context, dy_view, {&bias, 1});
      std::vector<float> all(dx.begin() + (begin - first) * n, dx.begin() + (begin - first + count) * n);
      all.insert(all.end(), dgain.begin(), dgain.end());
      all.insert(all.end(), dbias.begin(), dbias.end());
      results.push_back(all);
    }
  }
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

}  // namespace
}  // namespace umbel::kernels
