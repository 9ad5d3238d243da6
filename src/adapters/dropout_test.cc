#include "adapters/dropout.h"

#include <gtest/gtest.h>

#include <cstring>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using testing::random_tensor;
using testing::SmallBase;
using testing::TestContext;

std::vector<float> mask_of(uint64_t key, int32_t target, float rate, size_t columns) {
  std::vector<float> mask(columns);
  dropout_mask(key, target, rate, mask);
  return mask;
}

TEST(Dropout, DropsTheGivenShareAndScalesTheRest) {
  for (const float rate : {0.05f, 0.5f, 0.9f}) {
    int64_t dropped = 0, count = 0;
    for (uint64_t key = 1; key <= 400; ++key) {
      for (const float value : mask_of(key, 3, rate, 257)) {
        ++count;
        dropped += value == 0.0f;
        EXPECT_TRUE(value == 0.0f || value == 1.0f / (1.0f - rate));
      }
    }
    const double share = static_cast<double>(dropped) / static_cast<double>(count);
    EXPECT_NEAR(share, rate, 5 * std::sqrt(rate * (1 - rate) / static_cast<double>(count)));
  }
}

TEST(Dropout, AMaskIsAFunctionOfKeyModuleAndColumn) {
  const std::vector<float> mask = mask_of(7, 3, 0.5f, 1000);
  EXPECT_EQ(mask_of(7, 3, 0.5f, 1000), mask);
  const std::vector<float> shorter = mask_of(7, 3, 0.5f, 333);
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), mask.begin())) << "a column's value does not depend on how many there are";
  EXPECT_NE(mask_of(8, 3, 0.5f, 1000), mask);
  EXPECT_NE(mask_of(7, 4, 0.5f, 1000), mask);
}

// A LoRA with dropout over 300 rows (more than a block), beside another without, and keys.
struct Case {
  static constexpr const char* kPath = "model.layers.0.self_attn.q_proj";
  static constexpr int64_t kIn = 24, kOut = 24, kRank = 3;
  SmallBase base;
  Tensor a, b_t, x, dy, da{DType::kF32, {kRank, kIn}}, db{DType::kF32, {kRank, kOut}};
  std::vector<uint64_t> keys;
  Adapter adapter{base.targets().size()}, plain{base.targets().size()};
  int64_t rows;

  explicit Case(int64_t rows_in, float rate = 0.25f) : rows(rows_in) {
    Random random(5);
    a = random_tensor(random, {kRank, kIn});
    b_t = random_tensor(random, {kRank, kOut});
    x = random_tensor(random, {rows, kIn});
    dy = random_tensor(random, {rows, kOut});
    for (int64_t row = 0; row < rows; ++row) keys.push_back(mix_key({static_cast<uint64_t>(row)}));
    for (Adapter* made : {&adapter, &plain}) {
      LinearTerms& terms = made->add_linear(index());
      terms.low_rank.push_back({.rank = kRank, .a = a.f32(), .b_t = b_t.f32(), .a_stride = kIn, .b_stride = kOut, .scale = 0.5f});
      terms.dropout = made == &adapter ? rate : 0.0f;
      made->finish();
    }
  }
  int32_t index() const { return base.targets().find(kPath); }
  Segment segment(int64_t begin, int64_t count) const {
    return {static_cast<int32_t>(begin), static_cast<int32_t>(count), &adapter, keys.data() + begin};
  }
  Tensor forward(std::span<const Segment> segments, int threads = 1) const {
    TestContext test(apply_linear_scratch_bytes(rows, kIn, kOut, kRank) + kernels::matmul_forward_scratch_bytes(rows, kIn), threads);
    Tensor y(DType::kF32, {rows, kOut});
    apply_linear(test.context, base.targets(), index(), segments, ConstMatrixF(x.f32(), rows, kIn), MatrixF(y.f32(), rows, kOut));
    return y;
  }
  Tensor backward(std::span<const Segment> segments, int threads = 1) {
    TestContext test(apply_linear_vjp_scratch_bytes({.rows = rows, .in = kIn, .out = kOut, .rank_max = kRank, .threads = threads}), threads);
    Tensor dx(DType::kF32, {rows, kIn});
    for (Tensor* sum : {&da, &db}) std::fill_n(sum->f32(), sum->elements(), 0.0f);
    const LowRankGrads grads{.a = da.f32(), .b_t = db.f32()};
    std::vector<LinearGrads> by_segment(segments.size());
    for (LinearGrads& each : by_segment) each.low_rank = {&grads, 1};
    apply_linear_vjp(test.context, {.targets = base.targets(), .index = index(), .segments = segments, .grads = by_segment,
                                    .x = ConstMatrixF(x.f32(), rows, kIn), .dy = ConstMatrixF(dy.f32(), rows, kOut)},
                     MatrixF(dx.f32(), rows, kIn));
    return dx;
  }
};

bool same_bits(const Tensor& left, const Tensor& right) { return std::memcmp(left.data(), right.data(), left.bytes()) == 0; }

TEST(Dropout, TheForwardIsTheTermOverTheMaskedInput) {
  Case c(300);
  const Segment segment = c.segment(0, 300);
  const Tensor y = c.forward({&segment, 1});
  const Tensor w = c.base.weight(c.base.at(Case::kPath));
  double difference = 0, largest = 0;
  for (int64_t row = 0; row < c.rows; ++row) {
    const std::vector<float> mask = mask_of(c.keys[row], c.index(), 0.25f, Case::kIn);
    for (int64_t o = 0; o < Case::kOut; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < Case::kIn; ++i) {
        double weight = w.f32()[o * Case::kIn + i];
        for (int64_t r = 0; r < Case::kRank; ++r) {
          weight += 0.5 * mask[i] * c.b_t.f32()[r * Case::kOut + o] * c.a.f32()[r * Case::kIn + i];
        }
        sum += weight * c.x.f32()[row * Case::kIn + i];
      }
      difference = std::max(difference, std::fabs(sum - y.f32()[row * Case::kOut + o]));
      largest = std::max(largest, std::fabs(sum));
    }
  }
  EXPECT_LT(difference / largest, 5e-6);
}

TEST(Dropout, WithoutKeysNothingIsDropped) {
  Case c(40);
  const Segment evaluated{0, 40, &c.adapter}, plain{0, 40, &c.plain}, dropped = c.segment(0, 40);
  EXPECT_TRUE(same_bits(c.forward({&evaluated, 1}), c.forward({&plain, 1})));
  EXPECT_FALSE(same_bits(c.forward({&dropped, 1}), c.forward({&plain, 1})));
}

TEST(Dropout, CutsThreadsAndNeighboursChangeNoBit) {
  Case c(300);
  const Segment whole = c.segment(0, 300);
  const std::vector<Segment> cut = {c.segment(0, 7), c.segment(7, 263), c.segment(270, 30)};
  EXPECT_TRUE(same_bits(c.forward({&whole, 1}), c.forward(cut, 2)));
  const Tensor dx = c.backward({&whole, 1});
  const Tensor da = Tensor::widened(c.da.view()), db = Tensor::widened(c.db.view());
  EXPECT_TRUE(same_bits(dx, c.backward(cut, 2)));
  EXPECT_TRUE(same_bits(da, c.da));
  EXPECT_TRUE(same_bits(db, c.db));
}

}  // namespace
}  // namespace umbel
