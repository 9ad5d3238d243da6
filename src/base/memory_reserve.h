// MemoryReserve: memory set aside, so that being out of memory ends a request and not the process.
//
// Where an allocation fails, a piece of the reserve goes back to the allocator, and the allocation is tried again, if it is small
// (what is small stands in places that can't fail: a handler of Asio, a thread's start) or made while something is unwound (a JSON
// tree's destructor allocates), or if its thread must go on (MemoryPriority). Everything larger fails with std::bad_alloc at once, so
// that whoever wanted too much lets go of it; the last pieces are kept from what is merely small. Whoever lets work in asks
// memory_is_short() first, which also takes back what was let go.
//
// Linking this replaces operator new (weakly: a test may have its own; a sanitizer's build keeps its own).
// Address space only: untouched pages take no memory. Any thread may call anything here.
#pragma once

#include <cstddef>

namespace umbel {

inline constexpr size_t kMemoryReservePieceBytes = size_t{16} << 20;  // more than any destructor here wants at once
inline constexpr int kMemoryReservePieces = 8;
inline constexpr int kFirstReservePieces = 4;  // of them: for what is unwound and for threads that must go on
inline constexpr size_t kSmallAllocationBytes = size_t{64} << 10;
inline constexpr size_t kMemoryReserveBytes = kMemoryReservePieces * kMemoryReservePieceBytes;

// Takes the reserve, and the failures of operator new of the whole program. False when there is no memory for it now: tried again
// by memory_is_short(). Any number of times.
bool keep_memory_reserve();

// Whether a part of the reserve is out and can't be taken back now. False where none is kept.
bool memory_is_short();

// Gives a piece of the reserve to whoever allocates next. False when none is left: for allocators other than operator new, which
// try again then.
bool release_memory_reserve();

// What this thread allocates while this lives comes out of the reserve, rather than fail, as long as there is any: the bookkeeping
// of threads that serve everybody. They nest.
class MemoryPriority {
 public:
  enum class Level : unsigned char {
    kOrdinary,
    kSmallFirst,  // only what is small: for threads that hold clients' bytes, too
    kFirst,
  };
  explicit MemoryPriority(Level level = Level::kFirst);
  ~MemoryPriority();
  MemoryPriority(const MemoryPriority&) = delete;
  MemoryPriority& operator=(const MemoryPriority&) = delete;

 private:
  const Level before_;
};

}  // namespace umbel
