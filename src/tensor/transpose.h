// A matrix turned.
#pragma once

#include "tensor/tensor.h"

namespace umbel {

// [rows, cols] to [cols, rows], in its own type. REQUIRES two dimensions; the bytes may be unaligned.
Tensor transposed(const TensorView& matrix);
inline Tensor transposed(const Tensor& matrix) { return transposed(matrix.view()); }

}  // namespace umbel
