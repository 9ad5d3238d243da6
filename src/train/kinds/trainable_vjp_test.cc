// Gradients of a kind's masters, through the terms and back through what is derived from them, against dual numbers: DoRA with its
// norms detached, and VeRA; with and without dropout. The rule itself in double at 1e-9, the kernels in float at 5e-6 of the
// tensor's largest entry.
#include <gtest/gtest.h>

#include <functional>

#include "adapters/dropout.h"
#include "adapters/test_support.h"
#include "kernels/dual.h"
#include "kernels/ref/low_rank.h"
#include "train/kinds/trainable.h"

namespace umbel::train {
namespace {

using kernels::testing::Dual;
using testing::random_tensor;
using testing::SmallBase;
using testing::TestContext;

constexpr const char* kPath = "model.layers.0.mlp.down_proj";
constexpr int64_t kIn = 40, kOut = 24, kRank = 5, kRows = 4;

using Numbers = std::map<std::string, std::vector<double>>;  // "a", "b_t", "u", "v", "x"

// One linear layer with one kind of adapter, in double.
struct Layer {
  bool dora = false;
  double scale = 1.0;
  std::vector<double> w, norms, dy;
  std::vector<std::vector<float>> masks;  // by row
  Numbers values;                         // DoRA: a, b_t, m; VeRA: a, b_t (frozen), d, b

  // sum dy o y, the entry of one tensor moving.
  double derivative(const std::string& name, size_t entry) const {
    const auto at = [&](const std::string& tensor, int64_t i) -> Dual {
      return {values.at(tensor)[i], tensor == name && static_cast<size_t>(i) == entry ? 1.0 : 0.0};
    };
    Dual loss{0.0, 0.0};
    for (int64_t t = 0; t < kRows; ++t) {
      std::vector<Dual> h(kRank, Dual{0.0, 0.0});
      for (int64_t r = 0; r < kRank; ++r) {
        for (int64_t i = 0; i < kIn; ++i) h[r] = h[r] + at("a", r * kIn + i) * Dual{masks[t][i], 0.0} * at("x", t * kIn + i);
        if (!dora) h[r] = h[r] * at("d", r);
      }
      for (int64_t o = 0; o < kOut; ++o) {
        Dual y{0.0, 0.0}, low{0.0, 0.0};
        for (int64_t i = 0; i < kIn; ++i) y = y + Dual{w[o * kIn + i], 0.0} * at("x", t * kIn + i);
        for (int64_t r = 0; r < kRank; ++r) low = low + at("b_t", r * kOut + o) * h[r];
        if (dora) {
          y = at("m", o) / Dual{norms[o], 0.0} * (y + Dual{scale, 0.0} * low);
        } else {
          y = y + at("b", o) * low;
        }
        loss = loss + Dual{dy[t * kOut + o], 0.0} * y;
      }
    }
    return loss.tangent;
  }

  // The same by our rules: low_rank_vjp over the masked input, dx through the mask, and the ratio's way back to m.
  Numbers rules() const {
    Numbers sums;
    for (const auto& [name, value] : values) sums[name].assign(value.size(), 0.0);
    std::vector<double> ratio(kOut, 1.0), dratio(kOut, 0.0), dv(kRank, 0.0);
    for (int64_t o = 0; dora && o < kOut; ++o) ratio[o] = values.at("m")[o] / norms[o];
    const kernels::ref::LowRank<double> term{kIn, kOut, kRank, values.at("a").data(), values.at("b_t").data(),
                                             dora ? ratio.data() : values.at("b").data(), dora ? nullptr : values.at("d").data(), scale};
    const kernels::ref::LowRankGradient<double> gradient{sums["a"].data(), sums["b_t"].data(), dratio.data(), dv.data()};
    for (int64_t t = 0; t < kRows; ++t) {
      const double* x = values.at("x").data() + t * kIn;
      const double* g = dy.data() + t * kOut;
      std::vector<double> masked(kIn), back(kIn, 0.0);
      for (int64_t i = 0; i < kIn; ++i) masked[i] = masks[t][i] * x[i];
      kernels::ref::low_rank_vjp(term, masked.data(), g, back.data(), gradient);
      for (int64_t i = 0; i < kIn; ++i) sums["x"][t * kIn + i] += masks[t][i] * back[i];
      for (int64_t o = 0; o < kOut; ++o) {
        double wx = 0;
        for (int64_t i = 0; i < kIn; ++i) {
          wx += w[o * kIn + i] * x[i];
          sums["x"][t * kIn + i] += (dora ? ratio[o] : 1.0) * g[o] * w[o * kIn + i];
        }
        if (dora) dratio[o] += g[o] * wx;
      }
    }
    for (int64_t o = 0; dora && o < kOut; ++o) sums["m"][o] = dratio[o] / norms[o];
    if (!dora) sums["b"] = dratio, sums["d"] = dv;
    return sums;
  }
};

// One job over a small base with masters set at random, and the same numbers as a Layer.
struct Job {
  SmallBase base;
  std::unique_ptr<TrainableAdapter> made;
  std::vector<uint64_t> keys;
  Tensor x, dy, dx{DType::kF32, {kRows, kIn}};
  Layer layer;

  Job(TrainKind kind, double dropout) {
    const JobSpec spec{.kind = kind, .rank = kRank, .alpha = 4, .targets = {"down_proj"}, .dropout = dropout};
    made = TrainableAdapter::create(spec, base.targets(), "small").value();
    Random random(mix_key({9, static_cast<uint64_t>(kind)}));
    for (Parameter& p : made->parameters()) p.value = random_into(std::move(p.value), random);
    made->materialize();
    x = random_tensor(random, {kRows, kIn});
    dy = random_tensor(random, {kRows, kOut});
    for (uint64_t row = 0; row < kRows; ++row) keys.push_back(mix_key({row, 77}));
    fill_layer(kind == TrainKind::kDora, static_cast<float>(dropout));
  }
  static Tensor random_into(Tensor tensor, Random& random) {
    for (int64_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] = 0.3f + 0.5f * static_cast<float>(random.next_normal());
    return tensor;
  }
  static std::vector<double> wide(const float* values, int64_t count) { return {values, values + count}; }
  int32_t index() const { return base.targets().find(kPath); }
  Parameter& parameter(const std::string& name) {
    static const std::map<std::string, std::string> kSuffixes = {
        {"a", "lora_A.weight"}, {"b_t", "lora_B.weight"}, {"m", "lora_magnitude_vector"}, {"d", "vera_lambda_d"}, {"b", "vera_lambda_b"}};
    for (Parameter& p : made->parameters()) {
      if (p.tensor == std::string("base_model.model.") + kPath + "." + kSuffixes.at(name)) return p;
    }
    CHECK(false, "a parameter of this kind");
    return made->parameters().front();
  }

  void fill_layer(bool dora, float dropout) {
    const LowRankTerm& term = made->adapter().linear(index())->low_rank[0];
    const Tensor weight = base.weight(base.at(kPath));
    layer.dora = dora;
    layer.scale = term.scale;
    layer.w = wide(weight.f32(), kOut * kIn);
    layer.dy = wide(dy.f32(), kRows * kOut);
    layer.values["x"] = wide(x.f32(), kRows * kIn);
    layer.values["a"] = wide(static_cast<const float*>(term.a), kRank * kIn);
    layer.values["b_t"] = wide(static_cast<const float*>(term.b_t), kRank * kOut);
    for (const char* name : {"m", "d", "b"}) {
      if (dora == (std::string(name) == "m")) layer.values[name] = wide(parameter(name).value.f32(), parameter(name).value.elements());
    }
    for (int64_t t = 0; t < kRows; ++t) {
      layer.masks.emplace_back(kIn, 1.0f);
      if (dropout > 0) dropout_mask(keys[t], index(), dropout, layer.masks.back());
    }
    for (int64_t o = 0; dora && o < kOut; ++o) {
      double squares = 0;
      for (int64_t i = 0; i < kIn; ++i) {
        double sum = layer.w[o * kIn + i];
        for (int64_t r = 0; r < kRank; ++r) sum += layer.scale * layer.values["b_t"][r * kOut + o] * layer.values["a"][r * kIn + i];
        squares += sum * sum;
      }
      layer.norms.push_back(std::sqrt(squares));
    }
  }

  void backward() {
    TestContext test(apply_linear_vjp_scratch_bytes({.rows = kRows, .in = kIn, .out = kOut, .rank_max = kRank}));
    const Segment segment{0, kRows, &made->adapter(), keys.data()};
    const LinearGrads grads = made->gradients(index());
    made->zero_gradients();
    apply_linear_vjp(test.context, {.targets = base.targets(), .index = index(), .segments = {&segment, 1}, .grads = {&grads, 1},
                                    .x = ConstMatrixF(x.f32(), kRows, kIn), .dy = ConstMatrixF(dy.f32(), kRows, kOut)},
                     MatrixF(dx.f32(), kRows, kIn));
    made->gather();
  }
};

void expect_near(const std::string& name, const std::vector<double>& expected, const std::function<double(size_t)>& ours, double tolerance) {
  double most = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    most = std::max(most, std::fabs(ours(i) - expected[i]));
    largest = std::max(largest, std::fabs(expected[i]));
  }
  EXPECT_GT(largest, 0.0) << name;
  EXPECT_LE(most, tolerance * largest) << name;
}

TEST(TrainableVjp, DoraAndVeraEqualDualNumbers) {
  for (const TrainKind kind : {TrainKind::kDora, TrainKind::kVera}) {
    for (const double dropout : {0.0, 0.3}) {
      SCOPED_TRACE(train_kind_name(kind) + ", dropout " + std::to_string(dropout));
      Job job(kind, dropout);
      job.backward();
      Numbers rules = job.layer.rules();
      for (const auto& [name, value] : job.layer.values) {
        std::vector<double> expected;
        for (size_t i = 0; i < value.size(); ++i) expected.push_back(job.layer.derivative(name, i));
        expect_near(name + " in double", expected, [&, key = name](size_t i) { return rules[key][i]; }, 1e-9);
        if (kind == TrainKind::kVera && (name == "a" || name == "b_t")) continue;  // frozen
        const float* ours = name == "x" ? job.dx.f32() : job.parameter(name).gradient.f32();
        expect_near(name, expected, [&](size_t i) { return ours[i]; }, 5e-6);
      }
    }
  }
}

}  // namespace
}  // namespace umbel::train
