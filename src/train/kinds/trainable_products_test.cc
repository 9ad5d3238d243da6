// LoHa and MiSS: gradients of the masters, through the terms and back through what is derived from them, against dual numbers of the
// dense update that the papers write; and what the two refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "adapters/test_support.h"
#include "kernels/dual.h"
#include "train/kinds/trainable.h"

namespace umbel::train {
namespace {

using kernels::testing::Dual;
using ::testing::HasSubstr;
using testing::random_tensor;
using testing::SmallBase;
using testing::TestContext;

constexpr const char* kPath = "model.layers.0.mlp.down_proj";
constexpr int64_t kIn = 40, kOut = 24, kRows = 3;

// An entry of the adapter's file; one of them may move.
using Entry = std::function<Dual(const std::string& suffix, int64_t index)>;
using Update = std::function<Dual(const Entry& at, int64_t o, int64_t i)>;  // dW[o, i]

Dual loha_update(const Entry& at, int64_t o, int64_t i) {
  constexpr int64_t kRank = 3;
  Dual first, second;
  for (int64_t j = 0; j < kRank; ++j) {
    first = first + at("hada_w1_a", o * kRank + j) * at("hada_w1_b", j * kIn + i);
    second = second + at("hada_w2_a", o * kRank + j) * at("hada_w2_b", j * kIn + i);
  }
  return Dual(4.0 / kRank) * first * second;
}

Dual miss_update(const Entry& at, int64_t o, int64_t i) { return at("miss_block", i % 7 * kOut + o); }

// One job over a small base with masters set at random.
struct Job {
  SmallBase base;
  std::unique_ptr<TrainableAdapter> made;
  Tensor x, dy, dx{DType::kF32, {kRows, kIn}};

  explicit Job(const JobSpec& spec) {
    made = TrainableAdapter::create(spec, base.targets(), "small").value();
    Random random(mix_key({9, static_cast<uint64_t>(spec.kind)}));
    for (Parameter& p : made->parameters()) {
      for (int64_t i = 0; i < p.value.elements(); ++i) p.value.f32()[i] = 0.3f + 0.5f * static_cast<float>(random.next_normal());
    }
    made->materialize();
    x = random_tensor(random, {kRows, kIn});
    dy = random_tensor(random, {kRows, kOut});
  }

  void backward() {
    const int32_t index = base.targets().find(kPath);
    TestContext test(apply_linear_vjp_scratch_bytes({.rows = kRows, .in = kIn, .out = kOut, .rank_max = made->adapter().rank_max()}));
    const Segment segment{0, kRows, &made->adapter()};
    const LinearGrads grads = made->gradients(index);
    made->zero_gradients();
    apply_linear_vjp(test.context, {.targets = base.targets(), .index = index, .segments = {&segment, 1}, .grads = {&grads, 1},
                                    .x = ConstMatrixF(x.f32(), kRows, kIn), .dy = ConstMatrixF(dy.f32(), kRows, kOut)},
                     MatrixF(dx.f32(), kRows, kIn));
    made->gather();
  }


  // d sum dy o (dW x) by one entry of one parameter.
  double derivative(const Update& update, const Parameter& moving, int64_t entry) {
    const Entry at = [&](const std::string& suffix, int64_t index) -> Dual {
      for (const Parameter& p : made->parameters()) {
        if (!p.tensor.ends_with("." + suffix)) continue;
        const int64_t rows = p.value.shape()[0], cols = p.value.shape()[1];
        const int64_t own = p.transposed ? index % rows * cols + index / rows : index;
        return {p.value.f32()[own], &p == &moving && own == entry ? 1.0 : 0.0};
      }
      CHECK(false, "a parameter of this kind");
      return {};
    };
    Dual loss;
    for (int64_t o = 0; o < kOut; ++o) {
      for (int64_t i = 0; i < kIn; ++i) {
        double weight = 0;
        for (int64_t t = 0; t < kRows; ++t) weight += double{dy.f32()[t * kOut + o]} * x.f32()[t * kIn + i];
        loss = loss + Dual(weight) * update(at, o, i);
      }
    }
    return loss.tangent;
  }
};

void expect_dual_gradients(const JobSpec& spec, const Update& update) {
  Job job(spec);
  job.backward();
  for (const Parameter& p : job.made->parameters()) {
    double most = 0, largest = 0;
    const int64_t step = std::max<int64_t>(1, p.value.elements() / 23);
    for (int64_t entry = 0; entry < p.value.elements(); entry += step) {
      const double expected = job.derivative(update, p, entry);
      most = std::max(most, std::fabs(p.gradient.f32()[entry] - expected));
      largest = std::max(largest, std::fabs(expected));
    }
    EXPECT_GT(largest, 0.0) << p.tensor;
    EXPECT_LE(most, 5e-6 * largest) << p.tensor;
  }
}

TEST(TrainableProducts, GradientsEqualDualNumbers) {
  const JobSpec one_layer{.targets = {"down_proj"}, .layers = {0}};
  JobSpec loha = one_layer, miss = one_layer;
  loha.kind = TrainKind::kLoha, loha.rank = 3, loha.alpha = 4;
  miss.kind = TrainKind::kMiss, miss.rank = 7;  // 40 inputs: the last shard is shorter
  expect_dual_gradients(loha, loha_update);
  expect_dual_gradients(miss, miss_update);
}

// LoHa's three drawn factors differ; equal ones would get equal gradients on both sides for ever.
TEST(TrainableProducts, LohaStartsWithFactorsThatDiffer) {
  const SmallBase base;
  const auto made = TrainableAdapter::create({.kind = TrainKind::kLoha, .rank = 3, .targets = {"q_proj"}, .layers = {0}}, base.targets(), "small");
  ASSERT_TRUE(made.ok()) << made.status().message();
  const std::vector<Parameter>& p = (*made)->parameters();
  ASSERT_EQ(p.size(), 4u);
  const auto differ = [](const Parameter& a, const Parameter& b) { return a.value.f32()[0] != b.value.f32()[0]; };
  EXPECT_TRUE(differ(p[0], p[1]) && differ(p[0], p[2]) && differ(p[1], p[2]));
  EXPECT_EQ(p[3].tensor.substr(p[3].tensor.rfind('.') + 1), "hada_w2_b");
  EXPECT_EQ(p[3].value.f32()[0], 0.0f);
  EXPECT_EQ((*made)->config()["peft_type"], "LOHA");
}

TEST(TrainableProducts, WhatTheyCanNotBeIsRefused) {
  const SmallBase base;
  const auto message = [&](const JobSpec& spec) {
    const auto made = TrainableAdapter::create(spec, base.targets(), "small");
    return made.ok() ? std::string("ok") : made.status().message();
  };
  EXPECT_THAT(message({.kind = TrainKind::kLoha, .rank = 65}), HasSubstr("rank 65 is not in 1 .. 64"));
  EXPECT_THAT(message({.kind = TrainKind::kLoha, .dropout = 0.1}), HasSubstr("dropout has no meaning for loha; use 0"));
  EXPECT_THAT(message({.kind = TrainKind::kMiss, .rank = 25, .targets = {"q_proj"}}), HasSubstr("rank 25 is more than the 24 inputs"));
  EXPECT_THAT(message({.kind = TrainKind::kMiss, .targets = {"q_proj"}, .rank_pattern = {{"q_proj", 2}}}), HasSubstr("rank_pattern has no meaning"));
  EXPECT_THAT(message({.kind = TrainKind::kMiss, .targets = {"embed_tokens"}}), HasSubstr("can't be trained at model.embed_tokens"));
}

}  // namespace
}  // namespace umbel::train
