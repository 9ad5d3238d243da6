#include "nn/kv_cache.h"

namespace umbel {

size_t KvShape::block_bytes() const {
  const auto elements = static_cast<size_t>(kernels::kv_block_elements(kv_heads, head_dim));
  return 2 * static_cast<size_t>(layers) * elements * size_of(dtype);
}

KvCache::KvCache(const KvShape& shape, int32_t blocks) : shape_(shape), blocks_(blocks) {
  const int64_t elements = blocks * kernels::kv_block_elements(shape.kv_heads, shape.head_dim);
  k_.reserve(shape.layers);
  v_.reserve(shape.layers);
  for (int32_t layer = 0; layer < shape.layers; ++layer) {
    k_.emplace_back(shape.dtype, Shape{elements});
    v_.emplace_back(shape.dtype, Shape{elements});
  }
}

kernels::KvLayer KvCache::layer(int32_t index) const {
  // The cache is the one thing a const forward writes to: its owner hands out the slots, the bytes are nobody's state.
  return {.k = const_cast<void*>(k_[index].data()),
          .v = const_cast<void*>(v_[index].data()),
          .dtype = shape_.dtype,
          .block_size = kernels::kKvBlockSize,
          .kv_heads = shape_.kv_heads,
          .head_dim = shape_.head_dim};
}

}  // namespace umbel
