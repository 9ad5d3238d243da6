// Arena: step-lifetime memory. Reserved once, handed out by bumping a pointer, given back all at once by reset() or in
// stack order by a Mark; so a step of the engine or trainer allocates nothing from the heap.
//
// Not thread-safe: one owner hands memory out (kernels that run in parallel get theirs beforehand).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/check.h"

namespace umbel {

class Arena {
 public:
  // Reserves address space and memory for capacity bytes, 64-byte aligned.
  explicit Arena(size_t capacity_bytes);
  // Hands out memory that somebody else owns and that outlives it. REQUIRES: 64-byte aligned.
  explicit Arena(std::span<std::byte> memory);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  size_t capacity_bytes() const { return capacity_; }
  size_t used_bytes() const { return used_; }
  size_t peak_bytes() const { return peak_; }
  void reset() { used_ = 0; }

  // Uninitialised, 64-byte aligned. Running out is our mistake (the memory plan was wrong): CHECK.
  template <typename T>
  std::span<T> take(size_t count) {
    return {static_cast<T*>(take_bytes(count * sizeof(T))), count};
  }
  void* take_bytes(size_t bytes);

  // Gives back on scope exit what was taken since its construction.
  class Mark {
   public:
    explicit Mark(Arena& arena) : arena_(arena), used_(arena.used_) {}
    ~Mark() { arena_.used_ = used_; }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;

   private:
    Arena& arena_;
    size_t used_;
  };

 private:
  std::byte* data_;
  size_t capacity_;
  bool owned_;
  size_t used_ = 0;
  size_t peak_ = 0;
};

}  // namespace umbel
