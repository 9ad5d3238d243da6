// KvCache: the memory of all layers' keys and values, cut into blocks of kernels::kKvBlockSize positions. Which block
// belongs to whom is decided by engine/kv_pool; here are only the numbers.
//
// Owned by the engine (or an evaluation, or a test); one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api.h"
#include "tensor/tensor.h"

namespace umbel {

struct KvShape {
  int32_t layers = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  DType dtype = DType::kF32;  // kF32 in f32 mode, else kBF16

  // K and V of all layers for one block.
  size_t block_bytes() const;
};

class KvCache {
 public:
  KvCache(const KvShape& shape, int32_t blocks);

  const KvShape& shape() const { return shape_; }
  int32_t blocks() const { return blocks_; }
  size_t bytes() const { return static_cast<size_t>(blocks_) * shape_.block_bytes(); }
  kernels::KvLayer layer(int32_t index) const;

 private:
  KvShape shape_;
  int32_t blocks_;
  std::vector<Tensor> k_;  // one per layer
  std::vector<Tensor> v_;
};

}  // namespace umbel
