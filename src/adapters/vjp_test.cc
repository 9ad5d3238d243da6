#include "adapters/vjp.h"

#include <gtest/gtest.h>

#include <cstring>

#include "adapters/test_support.h"
#include "kernels/dual.h"

namespace umbel {
namespace {

using kernels::testing::Dual;
using testing::random_tensor;
using testing::SmallBase;
using testing::TestContext;

constexpr const char* kPath = "model.layers.0.self_attn.k_proj";
constexpr int64_t kIn = 24, kOut = 12;

// All numbers of one adapter's terms at k_proj, by name, so that a test can walk over them; and their gradients.
struct Parameters {
  std::map<std::string, Tensor> values;
  std::map<std::string, Tensor> grads;
  int scale_terms = 0;
  std::vector<int32_t> ranks;
  static constexpr float kScale = 0.8f;
  bool vectors = true;

  void add(Random& random, const std::string& name, Shape shape) {
    values[name] = random_tensor(random, shape, 0.6f, 0.2f);
    grads[name] = Tensor(DType::kF32, shape);
  }
  Parameters(uint64_t seed, int scale, std::vector<int32_t> low_rank, bool with_vectors)
      : scale_terms(scale), ranks(std::move(low_rank)), vectors(with_vectors) {
    Random random(mix_key({seed, 5}));
    for (int k = 0; k < scale; ++k) {
      add(random, "pre" + std::to_string(k), {kIn});
      add(random, "post" + std::to_string(k), {kOut});
    }
    for (size_t j = 0; j < ranks.size(); ++j) {
      const std::string n = std::to_string(j);
      add(random, "a" + n, {ranks[j], kIn});
      add(random, "b_t" + n, {ranks[j], kOut});
      if (!vectors) continue;
      add(random, "u" + n, {kOut});
      add(random, "v" + n, {ranks[j]});
    }
    add(random, "bias", {kOut});
  }
  const float* at(const std::string& name) const {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.f32();
  }
  float* grad(const std::string& name) {
    const auto found = grads.find(name);
    return found == grads.end() ? nullptr : found->second.f32();
  }
  // Terms that borrow from this object.
  std::shared_ptr<const Adapter> adapter(const SmallBase& base) const {
    auto made = std::make_shared<Adapter>(base.targets().size());
    LinearTerms& terms = made->add_linear(base.targets().find(kPath));
    for (int k = 0; k < scale_terms; ++k)
      terms.scale.push_back({at("pre" + std::to_string(k)), at("post" + std::to_string(k))});
    for (size_t j = 0; j < ranks.size(); ++j) {
      const std::string n = std::to_string(j);
      terms.low_rank.push_back({.rank = ranks[j],
                                .a = at("a" + n),
                                .b_t = at("b_t" + n),
                                .a_stride = kIn,
                                .b_stride = kOut,
                                .u = at("u" + n),
                                .v = at("v" + n),
                                .scale = kScale});
    }
    terms.bias = at("bias");
    made->finish();
    return made;
  }
};

// What LinearGrads spans over, for one Parameters.
struct GradViews {
  std::vector<ScaleGrads> scale;
  std::vector<LowRankGrads> low_rank;
  LinearGrads grads;

  explicit GradViews(Parameters& parameters) {
    for (int k = 0; k < parameters.scale_terms; ++k) {
      scale.push_back({parameters.grad("pre" + std::to_string(k)), parameters.grad("post" + std::to_string(k))});
    }
    for (size_t j = 0; j < parameters.ranks.size(); ++j) {
      const std::string n = std::to_string(j);
      low_rank.push_back(
          {parameters.grad("a" + n), parameters.grad("b_t" + n), parameters.grad("u" + n), parameters.grad("v" + n)});
    }
    grads = {scale, low_rank, parameters.grad("bias")};
  }
};

// sum(dy o y) of one row, with one entry of one tensor (or of x) moving: its derivative is the gradient.
class DualLoss {
 public:
  DualLoss(const SmallBase& base, const Parameters& parameters)
      : weight_(base.weight(base.at(kPath))), p_(parameters) {}

  double derivative(const std::string& name, int64_t entry, const float* x, const float* dy) const {
    const auto get = [&](const std::string& tensor, int64_t i) -> Dual {
      const float* values = p_.at(tensor);
      if (values == nullptr) return {1.0, 0.0};
      return {values[i], tensor == name && i == entry ? 1.0 : 0.0};
    };
    const auto x_at = [&](int64_t i) -> Dual { return {x[i], name == "x" && i == entry ? 1.0 : 0.0}; };
    Dual loss{0.0, 0.0};
    for (int64_t o = 0; o < kOut; ++o) {
      Dual y = get("bias", o);
      for (int k = 0; k < std::max(1, p_.scale_terms); ++k) {
        Dual sum{0.0, 0.0};
        for (int64_t i = 0; i < kIn; ++i) {
          sum = sum + Dual{weight_.f32()[o * kIn + i], 0.0} * get("pre" + std::to_string(k), i) * x_at(i);
        }
        y = y + get("post" + std::to_string(k), o) * sum;
      }
      for (size_t j = 0; j < p_.ranks.size(); ++j) {
        const std::string n = std::to_string(j);
        Dual sum{0.0, 0.0};
        for (int64_t r = 0; r < p_.ranks[j]; ++r) {
          Dual h{0.0, 0.0};
          for (int64_t i = 0; i < kIn; ++i) h = h + get("a" + n, r * kIn + i) * x_at(i);
          sum = sum + get("b_t" + n, r * kOut + o) * get("v" + n, r) * h;
        }
        y = y + get("u" + n, o) * Dual{Parameters::kScale, 0.0} * sum;
      }
      loss = loss + Dual{dy[o], 0.0} * y;
    }
    return loss.tangent;
  }

 private:
  Tensor weight_;
  const Parameters& p_;
};

struct Batch {
  std::vector<Parameters> crowd;
  std::vector<std::shared_ptr<const Adapter>> adapters;
  std::vector<Segment> segments;
  Tensor x, dy;
  int32_t rows = 0;
  std::vector<std::vector<int32_t>> examples;  // of every segment

  // in_training: every segment names its examples, of growing length.
  Batch(const SmallBase& base, int32_t rows_each, bool in_training) {
    crowd.emplace_back(1, 0, std::vector<int32_t>{5}, false);    // LoRA
    crowd.emplace_back(2, 3, std::vector<int32_t>{}, false);     // FLoRA
    crowd.emplace_back(3, 0, std::vector<int32_t>{7}, true);     // VeRA
    crowd.emplace_back(4, 1, std::vector<int32_t>{4}, true);     // DoRA's shape
    crowd.emplace_back(5, 2, std::vector<int32_t>{3, 6}, true);  // everything
    for (size_t i = 0; i < crowd.size(); ++i) {
      adapters.push_back(crowd[i].adapter(base));
      segments.push_back({rows, rows_each + static_cast<int32_t>(i), adapters.back().get()});
      rows += segments.back().row_count;
      examples.emplace_back();
      for (int32_t at = segments[i].row_begin, length = 1; at < rows; at += length++) examples[i].push_back(at);
      examples[i].push_back(rows);
      if (in_training) segments[i].examples = examples[i];
    }
    Random random(8);
    x = random_tensor(random, {rows, kIn}, 1.0f);
    dy = random_tensor(random, {rows, kOut}, 1.0f);
  }
};

LinearVjp call_for(const SmallBase& base, const Batch& batch, std::span<const LinearGrads> grads) {
  return {.targets = base.targets(),
          .index = base.targets().find(kPath),
          .segments = batch.segments,
          .grads = grads,
          .x = ConstMatrixF(batch.x.f32(), batch.rows, kIn),
          .dy = ConstMatrixF(batch.dy.f32(), batch.rows, kOut)};
}

// Serving's way through the scale terms (one product each), or training's (one modulated product).
class VjpTest : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(InTraining, VjpTest, ::testing::Bool());

TEST_P(VjpTest, GradientsEqualDualNumbers) {
  const SmallBase base;
  Batch batch(base, 5, GetParam());
  std::vector<GradViews> views;
  for (Parameters& parameters : batch.crowd) views.emplace_back(parameters);
  std::vector<LinearGrads> grads;
  for (size_t i = 0; i < views.size(); ++i) grads.push_back({views[i].scale, views[i].low_rank, views[i].grads.bias});
  Tensor dx(DType::kF32, {batch.rows, kIn});
  std::fill_n(dx.f32(), dx.elements(), std::nanf(""));
  TestContext test;
  apply_linear_vjp(test.context, call_for(base, batch, grads), MatrixF(dx.f32(), batch.rows, kIn));

  for (size_t s = 0; s < batch.segments.size(); ++s) {
    const Segment& segment = batch.segments[s];
    const DualLoss loss(base, batch.crowd[s]);
    for (const auto& [name, grad] : batch.crowd[s].grads) {
      for (int64_t i = 0; i < grad.elements(); ++i) {
        double expected = 0.0;
        for (int32_t t = segment.row_begin; t < segment.row_begin + segment.row_count; ++t) {
          expected += loss.derivative(name, i, batch.x.f32() + t * kIn, batch.dy.f32() + t * kOut);
        }
        ASSERT_NEAR(grad.f32()[i], expected, 2e-5 * (1.0 + std::fabs(expected)))
            << name << "[" << i << "] of adapter " << s;
      }
    }
    for (int32_t t = segment.row_begin; t < segment.row_begin + segment.row_count; ++t) {
      for (int64_t i = 0; i < kIn; ++i) {
        const double expected = loss.derivative("x", i, batch.x.f32() + t * kIn, batch.dy.f32() + t * kOut);
        ASSERT_NEAR(dx.f32()[t * kIn + i], expected, 2e-5 * (1.0 + std::fabs(expected)))
            << "x[" << t << "," << i << "]";
      }
    }
  }
}

// Gradients add, dx overwrites; nothing wanted is allowed; plain rows give W^T dy.
TEST_P(VjpTest, AccumulationContract) {
  const SmallBase base;
  Batch batch(base, 3, GetParam());
  GradViews view(batch.crowd[4]);
  std::vector<LinearGrads> grads(batch.segments.size());
  grads[4] = {view.scale, view.low_rank, view.grads.bias};
  Tensor dx(DType::kF32, {batch.rows, kIn}), again(DType::kF32, {batch.rows, kIn});
  TestContext test;
  apply_linear_vjp(test.context, call_for(base, batch, grads), MatrixF(dx.f32(), batch.rows, kIn));
  const Tensor once = Tensor::widened(batch.crowd[4].grads["a1"].view());
  apply_linear_vjp(test.context, call_for(base, batch, grads), MatrixF(again.f32(), batch.rows, kIn));
  EXPECT_EQ(std::memcmp(dx.data(), again.data(), dx.bytes()), 0);
  for (int64_t i = 0; i < once.elements(); ++i)
    EXPECT_NEAR(batch.crowd[4].grads["a1"].f32()[i], 2 * once.f32()[i], 1e-4);
  apply_linear_vjp(test.context, call_for(base, batch, {}), MatrixF());

  const Segment plain{0, batch.rows, nullptr};
  LinearVjp call = call_for(base, batch, {});
  call.segments = {&plain, 1};
  apply_linear_vjp(test.context, call, MatrixF(again.f32(), batch.rows, kIn));
  const Tensor w = base.weight(base.at(kPath));
  for (int64_t i = 0; i < kIn; ++i) {
    double expected = 0.0;
    for (int64_t o = 0; o < kOut; ++o) expected += double{batch.dy.f32()[o]} * w.f32()[o * kIn + i];
    EXPECT_NEAR(again.f32()[i], expected, 1e-5);
  }
}

// An adapter's gradients alone and in a crowd, with one thread and with two, over more rows than a block: the same
// bits.
TEST_P(VjpTest, GradientsDoNotDependOnTheBatch) {
  const SmallBase base;
  for (size_t who = 0; who < 5; ++who) {
    std::vector<Tensor> results;
    for (const int threads : {1, 2}) {
      for (const bool alone : {false, true}) {
        Batch batch(base, 90, GetParam());
        std::vector<GradViews> views;
        for (Parameters& parameters : batch.crowd) views.emplace_back(parameters);
        std::vector<LinearGrads> grads;
        for (GradViews& view : views) grads.push_back({view.scale, view.low_rank, view.grads.bias});
        Tensor dx(DType::kF32, {batch.rows, kIn});
        TestContext test(apply_linear_vjp_scratch_bytes({.rows = batch.rows, .in = kIn, .out = kOut, .rank_max = 9, .terms_max = 3, .threads = threads}), threads);
        if (alone) {
          const Segment& segment = batch.segments[who];
          std::vector<int32_t> examples = batch.examples[who];
          for (int32_t& row : examples) row -= segment.row_begin;
          Segment own{0, segment.row_count, segment.adapter};
          if (GetParam()) own.examples = examples;
          LinearVjp call = call_for(base, batch, {&grads[who], 1});
          call.segments = {&own, 1};
          call.x = call.x.middle_rows(segment.row_begin, segment.row_count);
          call.dy = call.dy.middle_rows(segment.row_begin, segment.row_count);
          apply_linear_vjp(test.context, call,
                           MatrixF(dx.f32(), batch.rows, kIn).middle_rows(segment.row_begin, segment.row_count));
        } else {
          apply_linear_vjp(test.context, call_for(base, batch, grads), MatrixF(dx.f32(), batch.rows, kIn));
        }
        int64_t count = 0;
        for (const auto& [name, grad] : batch.crowd[who].grads) count += grad.elements();
        Tensor all(DType::kF32, {count + batch.segments[who].row_count * kIn});
        count = 0;
        for (const auto& [name, grad] : batch.crowd[who].grads) {
          std::memcpy(all.f32() + count, grad.data(), grad.bytes());
          count += grad.elements();
        }
        std::memcpy(all.f32() + count, dx.f32() + batch.segments[who].row_begin * kIn,
                    batch.segments[who].row_count * kIn * sizeof(float));
        results.push_back(std::move(all));
      }
    }
    for (size_t i = 1; i < results.size(); ++i) {
      EXPECT_EQ(std::memcmp(results[0].data(), results[i].data(), results[0].bytes()), 0)
          << "adapter " << who << " run " << i;
    }
  }
}

}  // namespace
}  // namespace umbel
