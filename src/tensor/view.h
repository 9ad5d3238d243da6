// Views borrow numbers; they never own. A Matrix is row-major with a row stride in elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"

namespace umbel {

template <typename T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements from one row to the next, >= cols

  Matrix() = default;
  Matrix(T* data_in, int64_t rows_in, int64_t cols_in) : Matrix(data_in, rows_in, cols_in, cols_in) {}
  Matrix(T* data_in, int64_t rows_in, int64_t cols_in, int64_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}
  // A view of const numbers from a view of mutable ones.
  operator Matrix<const T>() const { return {data, rows, cols, stride}; }

  T* row(int64_t index) const {
    DCHECK(index >= 0 && index < rows, "row outside the matrix");
    return data + index * stride;
  }
  std::span<T> row_span(int64_t index) const { return {row(index), static_cast<size_t>(cols)}; }
  Matrix middle_rows(int64_t begin, int64_t count) const { return {data + begin * stride, count, cols, stride}; }
  Matrix middle_cols(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
};

using MatrixF = Matrix<float>;
using ConstMatrixF = Matrix<const float>;

}  // namespace umbel
