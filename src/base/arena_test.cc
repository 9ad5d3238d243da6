#include "base/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/random.h"

namespace umbel {
namespace {

TEST(Arena, HandsOutAlignedDisjointMemory) {
  Arena arena(100'000);
  EXPECT_GE(arena.capacity_bytes(), 100'000u);
  Random random(1);
  std::vector<std::span<uint8_t>> taken;
  for (int i = 0; i < 100; ++i) {
    taken.push_back(arena.take<uint8_t>(random.next_below(500)));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(taken.back().data()) % 64, 0u);
    for (uint8_t& byte : taken.back()) byte = static_cast<uint8_t>(i);
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    for (uint8_t byte : taken[i]) ASSERT_EQ(byte, static_cast<uint8_t>(i));
  }
}

TEST(Arena, MarksGiveBackInStackOrder) {
  Arena arena(4096);
  (void)arena.take<float>(16);
  const size_t before = arena.used_bytes();
  void* first = nullptr;
  {
    const Arena::Mark mark(arena);
    first = arena.take_bytes(100);
    {
      const Arena::Mark inner(arena);
      (void)arena.take_bytes(1000);
    }
    EXPECT_EQ(arena.used_bytes(), before + 128);
  }
  EXPECT_EQ(arena.used_bytes(), before);
  EXPECT_EQ(arena.take_bytes(1), first);
  EXPECT_EQ(arena.peak_bytes(), before + 128 + 1024);
  arena.reset();
  EXPECT_EQ(arena.used_bytes(), 0u);
}

TEST(Arena, BorrowedMemoryIsHandedOutAndLeftAlone) {
  Arena owner(4096);
  const std::span<std::byte> memory = owner.take<std::byte>(1024);
  {
    Arena borrower(memory);
    EXPECT_EQ(borrower.capacity_bytes(), 1024u);
    const std::span<uint8_t> taken = borrower.take<uint8_t>(1000);
    EXPECT_EQ(static_cast<void*>(taken.data()), memory.data());
    taken[999] = 7;
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(borrower.take_bytes(1), "too small for this plan");
  }
  EXPECT_EQ(memory[999], std::byte{7});
}

TEST(Arena, ZeroIsFineAndFullIsFull) {
  Arena empty(0);
  EXPECT_EQ(empty.take<float>(0).size(), 0u);
  Arena arena(4096);
  EXPECT_EQ(arena.take<uint8_t>(4096).size(), 4096u);
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(arena.take_bytes(1), "too small for this plan");
}

}  // namespace
}  // namespace umbel
