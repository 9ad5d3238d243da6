#include "tensor/transpose.h"

#include <gtest/gtest.h>

#include <cstring>

namespace umbel {
namespace {

TEST(TransposeTest, OfAnyTypeAndAnyAlignment) {
  Tensor wide(DType::kF32, {2, 3});
  for (int64_t i = 0; i < 6; ++i) wide.f32()[i] = static_cast<float>(i);
  const Tensor turned = transposed(wide);
  EXPECT_EQ(turned.shape(), (Shape{3, 2}));
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t col = 0; col < 3; ++col) EXPECT_EQ(turned.f32()[col * 2 + row], wide.f32()[row * 3 + col]);
  }
  const uint16_t narrow[] = {1, 2, 3, 4};
  char bytes[9];
  std::memcpy(bytes + 1, narrow, 8);
  const Tensor other = transposed(TensorView{DType::kBF16, {1, 4}, bytes + 1});
  EXPECT_EQ(other.shape(), (Shape{4, 1}));
  EXPECT_EQ(std::memcmp(other.data(), narrow, 8), 0);
}

}  // namespace
}  // namespace umbel
