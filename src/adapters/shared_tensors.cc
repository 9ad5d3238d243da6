#include "adapters/shared_tensors.h"

#include <cstring>
#include <utility>

namespace umbel {
namespace {

// FNV-1a over 8-byte words; equality is checked in full afterwards, so collisions only cost time.
uint64_t hash_of(const Tensor& tensor) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto* bytes = static_cast<const unsigned char*>(tensor.data());
  const size_t size = tensor.bytes();
  for (size_t at = 0; at < size; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + at, std::min<size_t>(8, size - at));
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 29;
  }
  return hash;
}

bool equal(const Tensor& left, const Tensor& right) {
  return left.dtype() == right.dtype() && left.shape() == right.shape() &&
         std::memcmp(left.data(), right.data(), left.bytes()) == 0;
}

}  // namespace

std::shared_ptr<const Tensor> SharedTensors::intern(Tensor tensor) {
  const uint64_t hash = hash_of(tensor);
  std::lock_guard lock(mutex_);
  std::erase_if(by_hash_, [](const auto& entry) { return entry.second.expired(); });
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto entry = begin; entry != end; ++entry) {
    if (std::shared_ptr<const Tensor> alive = entry->second.lock(); alive != nullptr && equal(*alive, tensor))
      return alive;
  }
  auto made = std::make_shared<const Tensor>(std::move(tensor));
  by_hash_.emplace(hash, made);
  return made;
}

size_t SharedTensors::size() const {
  std::lock_guard lock(mutex_);
  size_t alive = 0;
  for (const auto& [hash, tensor] : by_hash_) alive += !tensor.expired();
  return alive;
}

}  // namespace umbel
