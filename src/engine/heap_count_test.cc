#include "engine/heap_count_testing.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

namespace {

std::atomic<int64_t> calls{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  calls.fetch_add(1, std::memory_order_relaxed);
  const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, size == 0 ? alignment : size);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// The library's array and nothrow forms call the plain ones, a sanitizer's do not: the array forms have their own. Not inlined: compilers warn when they see malloc meet delete.
__attribute__((noinline)) void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
__attribute__((noinline)) void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
__attribute__((noinline)) void* operator new[](std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
__attribute__((noinline)) void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
__attribute__((noinline)) void operator delete[](void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace umbel::testing {

int64_t heap_calls() { return calls.load(std::memory_order_relaxed); }

namespace {

struct alignas(64) Wide {
  char bytes[64];
};

// A compiler may leave out what nobody looks at.
template <typename Pointer>
void look_at(const Pointer& pointer) {
  asm volatile("" : : "g"(pointer.get()) : "memory");
}

// A counter that sees nothing would let every test that relies on it pass.
TEST(HeapCount, SeesEveryFormInEveryThread) {
  const auto taken = [](const auto& act) {
    const int64_t before = heap_calls();
    act();
    return heap_calls() - before;
  };
  EXPECT_EQ(taken([] {}), 0);
  EXPECT_EQ(taken([] { std::vector<int>(3).data()[0] = 1; }), 1);
  EXPECT_EQ(taken([] { look_at(std::make_unique<Wide>()); }), 1);
  EXPECT_EQ(taken([] { look_at(std::make_unique<char[]>(100)); }), 1);
  EXPECT_GE(taken([] { std::thread([] { look_at(std::make_unique<int>(5)); }).join(); }), 2);
}

}  // namespace
}  // namespace umbel::testing
