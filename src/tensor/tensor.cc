#include "tensor/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace umbel {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;
// From this size on the rounding to whole huge pages costs at most a quarter.
constexpr size_t kHugePagesFromBytes = 4 * kHugePageBytes;

}  // namespace

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return count;
}

std::string shape_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

void Tensor::Free::operator()(void* memory) const { std::free(memory); }

Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {
  // Large tensors ask for huge pages: streaming weights and adapters misses the TLB on every 4 KiB page otherwise.
  const size_t alignment = bytes() >= kHugePagesFromBytes ? kHugePageBytes : 64;
  const size_t rounded = std::max<size_t>(64, (bytes() + alignment - 1) / alignment * alignment);
  void* memory = std::aligned_alloc(alignment, rounded);
  CHECK(memory != nullptr, "out of memory for a tensor");
  if (alignment == kHugePageBytes) madvise(memory, rounded, MADV_HUGEPAGE);
  std::memset(memory, 0, rounded);
  data_.reset(memory);
}

float* Tensor::f32() {
  CHECK(dtype_ == DType::kF32, "this tensor does not hold f32");
  return static_cast<float*>(data_.get());
}

const float* Tensor::f32() const { return const_cast<Tensor*>(this)->f32(); }

Tensor Tensor::widened(const TensorView& view) { return converted(view, DType::kF32); }

Tensor Tensor::converted(const TensorView& view, DType dtype) {
  Tensor tensor(dtype, view.shape);
  if (dtype == view.dtype) {
    std::memcpy(tensor.data(), view.data, view.bytes());
  } else if (dtype == DType::kF32) {
    widen_to_f32(view.dtype, view.data, tensor.f32(), view.elements());
  } else {
    Tensor wide = widened(view);
    narrow_from_f32(wide.f32(), dtype, tensor.data(), view.elements());
  }
  return tensor;
}

}  // namespace umbel
