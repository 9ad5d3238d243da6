// Scalar truth of the frozen matmul, forward and gradient side by side: plain loops in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/matmul_table.h"
#include "tensor/view.h"

namespace umbel::kernels::ref {

// y[M, out] = x[M, in] w^T, w [out, in].
inline void matmul(ConstMatrixF x, ConstMatrixF w, MatrixF y) {
  for (int64_t m = 0; m < x.rows; ++m) {
    for (int64_t o = 0; o < w.rows; ++o) {
      double sum = 0;
      for (int64_t k = 0; k < w.cols; ++k) sum += static_cast<double>(x.row(m)[k]) * w.row(o)[k];
      y.row(m)[o] = static_cast<float>(sum);
    }
  }
}

// x as kInt8Dot reads it: each group of a row as whole numbers times largest / 127.
inline void round_to_int8_groups(MatrixF x) {
  for (int64_t m = 0; m < x.rows; ++m) {
    for (int64_t begin = 0; begin < x.cols; begin += kInt8Group) {
      const int64_t end = std::min(begin + kInt8Group, x.cols);
      float largest = 0;
      for (int64_t k = begin; k < end; ++k) largest = std::max(largest, std::fabs(x.row(m)[k]));
      for (int64_t k = begin; k < end; ++k) {
        float& value = x.row(m)[k];
        value = largest == 0 ? 0 : std::nearbyint(value * (127.0f / largest)) * (largest / 127.0f);
      }
    }
  }
}

// dx[M, in] = dy[M, out] w.
inline void matmul_vjp_x(ConstMatrixF dy, ConstMatrixF w, MatrixF dx) {
  for (int64_t m = 0; m < dy.rows; ++m) {
    for (int64_t k = 0; k < w.cols; ++k) {
      double sum = 0;
      for (int64_t o = 0; o < w.rows; ++o) sum += static_cast<double>(dy.row(m)[o]) * w.row(o)[k];
      dx.row(m)[k] = static_cast<float>(sum);
    }
  }
}

}  // namespace umbel::kernels::ref
