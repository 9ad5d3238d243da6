#include "base/arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace umbel {

Arena::Arena(size_t capacity_bytes) : capacity_((capacity_bytes + 4095) / 4096 * 4096), owned_(true) {
  void* memory = mmap(nullptr, std::max<size_t>(capacity_, 4096), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED, "the arena's memory could not be reserved");
  madvise(memory, capacity_, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(memory);
}

Arena::Arena(std::span<std::byte> memory) : data_(memory.data()), capacity_(memory.size()), owned_(false) {
  CHECK(reinterpret_cast<uintptr_t>(data_) % 64 == 0, "an arena's memory is aligned");
}

Arena::~Arena() {
  if (owned_) munmap(data_, std::max<size_t>(capacity_, 4096));
}

void* Arena::take_bytes(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  CHECK(rounded <= capacity_ - used_, "the step's arena is too small for this plan");
  void* memory = data_ + used_;
  used_ += rounded;
  peak_ = std::max(peak_, used_);
  return memory;
}

}  // namespace umbel
