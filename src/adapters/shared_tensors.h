// SharedTensors: one copy of tensors that several adapters carry with the same contents (VeRA's frozen projections).
//
// Owned by the library; adapters hold what they use, the pool itself holds nothing alive. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "tensor/tensor.h"

namespace umbel {

class SharedTensors {
 public:
  // The tensor itself, or an equal one (same type, shape and bytes) that is alive already.
  std::shared_ptr<const Tensor> intern(Tensor tensor);
  // How many distinct tensors are alive.
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::multimap<uint64_t, std::weak_ptr<const Tensor>> by_hash_;
};

}  // namespace umbel
