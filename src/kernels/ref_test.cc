// The hand-derived vjps of kernels/ref against dual numbers, every input coordinate, to 1e-9 in double.
#include <functional>

#include "kernels/dual.h"
#include "kernels/ref/attention.h"
#include "kernels/ref/low_rank.h"
#include "kernels/ref/activation.h"
#include "kernels/ref/row.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Dual;

std::vector<double> normal(Random& random, int64_t count) {
  std::vector<double> values(count);
  for (double& value : values) value = random.next_normal();
  return values;
}

// One differentiable function of several inputs, in dual numbers.
using Inputs = std::vector<std::vector<Dual>>;
using Forward = std::function<std::vector<Dual>(const Inputs&)>;

// Expects gradients[n][i] = d (dy . forward(inputs)) / d inputs[n][i] for every n and i; an empty gradients[n] is skipped.
void expect_gradients(const std::vector<std::vector<double>>& inputs, const Forward& forward, const std::vector<double>& dy,
                      const std::vector<std::vector<double>>& gradients) {
  Inputs duals;
  for (const auto& input : inputs) duals.emplace_back(input.begin(), input.end());
  for (size_t n = 0; n < inputs.size(); ++n) {
    if (gradients[n].empty()) continue;
    std::vector<double> expected;
    for (Dual& coordinate : duals[n]) {
      coordinate.tangent = 1;
      const std::vector<Dual> out = forward(duals);
      coordinate.tangent = 0;
      double sum = 0;
      for (size_t i = 0; i < out.size(); ++i) sum += dy[i] * out[i].tangent;
      expected.push_back(sum);
    }
    EXPECT_LT(testing::difference(gradients[n], expected), 1e-9) << "input " << n;
  }
}

TEST(Ref, RmsNormVjp) {
  Random random(1);
  const int64_t n = 23;
  const auto x = normal(random, n), gain = normal(random, n), dy = normal(random, n);
  std::vector<double> dx(n), dgain(n, 0.0);
  ref::rms_norm_vjp(x.data(), gain.data(), 1e-2, dy.data(), dx.data(), dgain.data(), n);
  expect_gradients({x, gain}, [&](const Inputs& in) {
    std::vector<Dual> y(n);
    ref::rms_norm_forward(in[0].data(), in[1].data(), Dual(1e-2), y.data(), n);
    return y;
  }, dy, {dx, dgain});
}

TEST(Ref, SwigluVjp) {
  Random random(2);
  const int64_t n = 23;
  const auto gate = normal(random, n), up = normal(random, n), dy = normal(random, n);
  std::vector<double> dgate(n), dup(n);
  ref::activation_vjp(Activation::kSilu, {gate.data(), up.data(), dy.data()}, dgate.data(), dup.data(), n);
  expect_gradients({gate, up}, [&](const Inputs& in) {
    std::vector<Dual> y(n);
    ref::activation_forward(Activation::kSilu, in[0].data(), in[1].data(), y.data(), n);
    return y;
  }, dy, {dgate, dup});
}

TEST(Ref, RopeVjp) {
  Random random(3);
  const auto x = normal(random, 3 * 14), angles = normal(random, 14), dy = normal(random, 3 * 14);
  std::vector<double> dx = dy;
  ref::rope_vjp(angles.data(), {3, 14, 14}, dx.data());
  expect_gradients({x, angles}, [&](const Inputs& in) {
    std::vector<Dual> y = in[0];
    ref::rope_forward(in[1].data(), {3, 14, 14}, y.data());
    return y;
  }, dy, {dx, {}});
}

TEST(Ref, ScaleVjp) {
  Random random(4);
  const auto x = normal(random, 9), scale = normal(random, 9), dy = normal(random, 9);
  std::vector<double> dx(9), dscale(9, 0.0);
  ref::scale_vjp(x.data(), scale.data(), dy.data(), dx.data(), dscale.data(), 9);
  expect_gradients({x, scale}, [&](const Inputs& in) {
    std::vector<Dual> y(9);
    ref::scale_forward(in[0].data(), in[1].data(), y.data(), 9);
    return y;
  }, dy, {dx, dscale});
}

TEST(Ref, CrossEntropyVjp) {
  Random random(5);
  const auto x = normal(random, 31);
  std::vector<double> dx(31);
  ref::cross_entropy_vjp(x.data(), 7, 0.3, dx.data(), 31);
  expect_gradients({x}, [&](const Inputs& in) {
    return std::vector<Dual>{ref::cross_entropy_forward(in[0].data(), 7, 31)};
  }, {0.3}, {dx});
}

TEST(Ref, LowRankVjp) {
  Random random(6);
  const int64_t in_count = 11, out_count = 13, rank = 5;
  const auto a = normal(random, rank * in_count), b = normal(random, rank * out_count), u = normal(random, out_count);
  const auto v = normal(random, rank), x = normal(random, in_count), dy = normal(random, out_count);
  std::vector<double> dx(in_count, 0.0), da(a.size(), 0.0), db(b.size(), 0.0), du(u.size(), 0.0), dv(v.size(), 0.0);
  const ref::LowRank<double> term = {in_count, out_count, rank, a.data(), b.data(), u.data(), v.data(), 0.7};
  ref::low_rank_vjp(term, x.data(), dy.data(), dx.data(), ref::LowRankGradient<double>{da.data(), db.data(), du.data(), dv.data()});
  expect_gradients({x, a, b, u, v}, [&](const Inputs& in) {
    const ref::LowRank<Dual> dual = {in_count, out_count, rank, in[1].data(), in[2].data(), in[3].data(), in[4].data(), 0.7};
    std::vector<Dual> h(rank), y(out_count, Dual(0.0));
    ref::low_rank_forward(dual, in[0].data(), h.data(), y.data());
    return y;
  }, dy, {dx, da, db, du, dv});
}

TEST(Ref, AttentionVjp) {
  Random random(7);
  const int64_t keys = 9, dim = 6;
  const auto q = normal(random, dim), k = normal(random, keys * dim), v = normal(random, keys * dim), dout = normal(random, dim);
  std::vector<double> dq(dim), dk(k.size(), 0.0), dv(v.size(), 0.0);
  ref::attention_vjp(q.data(), ref::Keys<double>{k.data(), v.data(), keys, dim, dim, 0.4}, dout.data(),
                     {dq.data(), dk.data(), dv.data()});
  expect_gradients({q, k, v}, [&](const Inputs& in) {
    std::vector<Dual> out(dim);
    ref::attention_forward(in[0].data(), ref::Keys<Dual>{in[1].data(), in[2].data(), keys, dim, dim, 0.4}, out.data());
    return out;
  }, dout, {dq, dk, dv});
}

// A seeded mistake must be seen: the check itself can fail.
TEST(Ref, TheCheckSeesAWrongGradient) {
  const std::vector<double> x = {1.0, 2.0}, scale = {3.0, 4.0}, dy = {1.0, 1.0};
  std::vector<double> dx = {3.0, 4.0 + 1e-7};
  EXPECT_GT(testing::difference(dx, scale), 1e-9);
}

}  // namespace
}  // namespace umbel::kernels
