// FrozenMatrix: one handle for a base weight [out, in], packed once at load for the chosen arithmetic. Immutable.
//
// y = W x. Stored as f32, bf16 or f16; kernels widen. The packed layout is private to kernels/.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "kernels/choice.h"
#include "tensor/tensor.h"

namespace umbel::kernels {

class FrozenMatrix {
 public:
  FrozenMatrix() = default;
  FrozenMatrix(FrozenMatrix&&) = default;
  FrozenMatrix& operator=(FrozenMatrix&&) = default;

  // weight: [out, in], any float type. stored: kF32, kBF16 or kF16 (values are rounded to it).
  static FrozenMatrix pack(const TensorView& weight, DType stored, const Choice& choice);

  bool empty() const { return data_.empty(); }
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  DType dtype() const { return dtype_; }
  Arithmetic arithmetic() const { return arithmetic_; }
  size_t bytes() const { return data_.bytes(); }

  // Row `index` widened to f32 (embedding look-up on tied models, DoRA norms, tests). target: [in].
  void read_row(int64_t index, float* target) const;

  const void* packed() const { return data_.data(); }

 private:
  int64_t out_ = 0;
  int64_t in_ = 0;
  DType dtype_ = DType::kF32;
  Arithmetic arithmetic_ = Arithmetic::kF32Fma;
  Tensor data_;
};

}  // namespace umbel::kernels
