#include "adapters/khatri_rao.h"

#include <gtest/gtest.h>

#include <vector>

#include "adapters/test_support.h"
#include "kernels/dual.h"

namespace umbel {
namespace {

using kernels::testing::Dual;
using testing::random_tensor;

// (C1 D1) o (C2 D2) = C D for any sizes, one row among them.
TEST(KhatriRaoTest, AHadamardProductOfProductsIsOneProduct) {
  Random random(mix_key({5}));
  for (const int64_t rank : {1, 2, 5}) {
    const int64_t in = 7, out = 4;
    const Tensor c1 = random_tensor(random, {rank, out}), c2 = random_tensor(random, {rank, out});
    const Tensor d1 = random_tensor(random, {rank, in}), d2 = random_tensor(random, {rank, in});
    const Tensor c = khatri_rao(c1, c2), d = khatri_rao(d1, d2);
    ASSERT_EQ(c.shape(), (Shape{rank * rank, out}));
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        double first = 0, second = 0, product = 0;
        for (int64_t j = 0; j < rank; ++j) {
          first += double{c1.f32()[j * out + o]} * d1.f32()[j * in + i];
          second += double{c2.f32()[j * out + o]} * d2.f32()[j * in + i];
        }
        for (int64_t j = 0; j < rank * rank; ++j) product += double{c.f32()[j * out + o]} * d.f32()[j * in + i];
        EXPECT_NEAR(product, first * second, 1e-6) << rank << " " << o << " " << i;
      }
    }
  }
}

TEST(KhatriRaoTest, GradientsEqualDualNumbersAndAdd) {
  constexpr int64_t kRank = 3, kWidth = 5;
  Random random(mix_key({6}));
  const Tensor first = random_tensor(random, {kRank, kWidth}), second = random_tensor(random, {kRank, kWidth});
  const Tensor gradient = random_tensor(random, {kRank * kRank, kWidth});
  std::vector<float> dfirst(kRank * kWidth, 1.0f), dsecond(kRank * kWidth, 2.0f);
  khatri_rao_vjp({first.f32(), second.f32(), kRank, kWidth}, gradient.f32(), {dfirst.data(), dsecond.data()});
  for (int64_t entry = 0; entry < kRank * kWidth; ++entry) {
    for (const bool of_first : {true, false}) {
      Dual loss;
      for (int64_t j = 0; j < kRank; ++j) {
        for (int64_t k = 0; k < kRank; ++k) {
          for (int64_t i = 0; i < kWidth; ++i) {
            const Dual one{first.f32()[j * kWidth + i], of_first && j * kWidth + i == entry ? 1.0 : 0.0};
            const Dual two{second.f32()[k * kWidth + i], !of_first && k * kWidth + i == entry ? 1.0 : 0.0};
            loss = loss + Dual(gradient.f32()[(j * kRank + k) * kWidth + i]) * one * two;
          }
        }
      }
      EXPECT_NEAR((of_first ? dfirst : dsecond)[entry], loss.tangent + (of_first ? 1.0 : 2.0), 1e-6);
    }
  }
}

}  // namespace
}  // namespace umbel
