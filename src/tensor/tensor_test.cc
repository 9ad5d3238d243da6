#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

namespace umbel {
namespace {

TEST(Tensor, StartsZeroedAlignedAndDense) {
  const Tensor tensor(DType::kF32, {3, 5});
  EXPECT_EQ(tensor.elements(), 15);
  EXPECT_EQ(tensor.bytes(), 60u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % 64, 0u);
  for (int i = 0; i < 15; ++i) EXPECT_EQ(tensor.f32()[i], 0.0f);
}

TEST(Tensor, ScalarsAndEmptyShapes) {
  EXPECT_EQ(Tensor(DType::kF32, {}).elements(), 1);
  const Tensor none(DType::kBF16, {0, 7});
  EXPECT_EQ(none.bytes(), 0u);
  EXPECT_FALSE(none.empty());
  EXPECT_TRUE(Tensor().empty());
  EXPECT_EQ(shape_string({256, 704}), "[256, 704]");
  EXPECT_EQ(shape_string({}), "[]");
}

TEST(Tensor, ConvertsThroughF32) {
  Tensor source(DType::kF32, {4});
  const float values[] = {1.0f, -2.5f, 3.14159265f, 65504.0f};
  std::memcpy(source.data(), values, sizeof(values));
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Tensor stored = Tensor::converted(source.view(), dtype);
    EXPECT_EQ(stored.dtype(), dtype);
    EXPECT_EQ(stored.shape(), source.shape());
    const Tensor wide = Tensor::widened(stored.view());
    for (int i = 0; i < 4; ++i) EXPECT_NEAR(wide.f32()[i], values[i], std::abs(values[i]) / 200);
    const Tensor other = Tensor::converted(stored.view(), DType::kF16);
    EXPECT_EQ(other.dtype(), DType::kF16);
  }
}

TEST(Tensor, MovesItsMemory) {
  Tensor source(DType::kF32, {2});
  source.f32()[1] = 7;
  const float* data = source.f32();
  const Tensor moved = std::move(source);
  EXPECT_EQ(moved.f32(), data);
  EXPECT_EQ(moved.f32()[1], 7);
}

TEST(TensorDeathTest, F32IsAskedOfF32Only) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Tensor tensor(DType::kBF16, {2});
  EXPECT_DEATH(tensor.f32(), "does not hold f32");
}

TEST(Matrix, ViewsRowsAndColumns) {
  float numbers[12];
  for (int i = 0; i < 12; ++i) numbers[i] = static_cast<float>(i);
  const MatrixF matrix(numbers, 3, 4);
  EXPECT_EQ(matrix.row(1)[2], 6.0f);
  EXPECT_EQ(matrix.middle_rows(1, 2).row(1)[0], 8.0f);
  const MatrixF columns = matrix.middle_cols(1, 2);
  EXPECT_EQ(columns.row(2)[0], 9.0f);
  EXPECT_EQ(columns.row_span(0).size(), 2u);
  const ConstMatrixF constant = columns;
  EXPECT_EQ(constant.row(1)[1], 6.0f);
}

}  // namespace
}  // namespace umbel
