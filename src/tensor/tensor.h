// Tensor owns numbers (64-byte aligned, row-major, dense); TensorView borrows them, often from a mapped file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace umbel {

using Shape = std::vector<int64_t>;

int64_t element_count(const Shape& shape);
std::string shape_string(const Shape& shape);  // "[256, 704]"

// dtype, shape and where the bytes are. data may be unaligned (safetensors gives no alignment promise).
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;

  int64_t elements() const { return element_count(shape); }
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(dtype); }
};

// Move-only owner.
class Tensor {
 public:
  Tensor() = default;
  // Zero-filled.
  Tensor(DType dtype, Shape shape);
  Tensor(Tensor&&) = default;
  Tensor& operator=(Tensor&&) = default;

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t elements() const { return element_count(shape_); }
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(dtype_); }
  bool empty() const { return data_ == nullptr; }
  void* data() { return data_.get(); }
  const void* data() const { return data_.get(); }
  // REQUIRES dtype() == kF32.
  float* f32();
  const float* f32() const;
  TensorView view() const { return {dtype_, shape_, data_.get()}; }

  // A copy in f32 (any float type) or in dtype (kF32, kBF16, kF16; via f32).
  static Tensor widened(const TensorView& view);
  static Tensor converted(const TensorView& view, DType dtype);

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  DType dtype_ = DType::kF32;
  Shape shape_;
  std::unique_ptr<void, Free> data_;
};

}  // namespace umbel
