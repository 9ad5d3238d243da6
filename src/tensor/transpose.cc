#include "tensor/transpose.h"

#include <cstring>

#include "base/check.h"

namespace umbel {

Tensor transposed(const TensorView& matrix) {
  CHECK(matrix.shape.size() == 2, "a matrix is turned");
  const int64_t rows = matrix.shape[0], cols = matrix.shape[1];
  const size_t size = size_of(matrix.dtype);
  Tensor turned(matrix.dtype, {cols, rows});
  const auto* from = static_cast<const std::byte*>(matrix.data);
  auto* to = static_cast<std::byte*>(turned.data());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) std::memcpy(to + (col * rows + row) * size, from + (row * cols + col) * size, size);
  }
  return turned;
}

}  // namespace umbel
