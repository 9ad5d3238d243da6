#include "base/memory_reserve.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "base/sanitized_testing.h"

namespace umbel {
namespace {

// In a process of its own whose addresses end so many bytes above what it has; its exit status.
template <typename Body>
int with_little_memory(size_t bytes, Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit limit{.rlim_cur = pages * 4096 + bytes, .rlim_max = RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &limit);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Not new-expressions, which a compiler may leave out.
void* take(size_t bytes) { return ::operator new(bytes); }
void give(void* place) { ::operator delete(place); }

// Takes all there is, and lets go of nothing.
bool fill_memory() {
  static std::vector<void*> all;
  all.reserve(1 << 16);
  try {
    for (size_t bytes = size_t{16} << 20; bytes >= 4096; bytes /= 2) {
      for (void* piece = ::operator new(bytes, std::nothrow); piece != nullptr; piece = ::operator new(bytes, std::nothrow)) all.push_back(piece);
    }
  } catch (const std::bad_alloc&) {
  }
  return all.size() > 2;
}

// Allocates while it dies, as a JSON tree does.
struct AllocatesWhenItDies {
  explicit AllocatesWhenItDies(size_t bytes_in) : bytes(bytes_in) {}
  ~AllocatesWhenItDies() { give(take(bytes)); }
  size_t bytes;
};

class MemoryReserveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::kSanitized) GTEST_SKIP() << "a sanitizer's own addresses count too";
  }
};

TEST_F(MemoryReserveTest, WhatDiesBecauseMemoryEndedFindsSome) {
  const auto body = [] {
    if (!keep_memory_reserve()) return 10;
    std::vector<char> kept;
    try {
      const AllocatesWhenItDies dies(size_t{8} << 20);
      kept.resize(size_t{1} << 40);
      return 11;
    } catch (const std::bad_alloc&) {
    }
    return 0;
  };
  EXPECT_EQ(with_little_memory(kMemoryReserveBytes + (size_t{4} << 20), body), 0);
}

TEST_F(MemoryReserveTest, ItIsTakenBackAsSoonAsThereIsMemory) {
  const auto body = [] {
    if (memory_is_short()) return 10;  // none is kept yet
    if (!keep_memory_reserve() || memory_is_short()) return 11;
    void* const most = take(size_t{90} << 20);
    for (int piece = 0; piece < kMemoryReservePieces; ++piece) {
      if (!release_memory_reserve()) return 12;
    }
    if (release_memory_reserve()) return 13;
    void* const rest = take(size_t{50} << 20);
    if (!memory_is_short()) return 14;
    give(most);
    if (memory_is_short()) return 15;
    give(rest);
    return 0;
  };
  EXPECT_EQ(with_little_memory(kMemoryReserveBytes + (size_t{100} << 20), body), 0);
}

TEST_F(MemoryReserveTest, AThreadThatComesFirstIsGivenIt) {
  const auto body = [] {
    if (!keep_memory_reserve()) return 10;
    {
      const MemoryPriority first;
      try {
        give(take(size_t{40} << 20));  // more than is left beside the reserve
      } catch (const std::bad_alloc&) {
        return 11;
      }
    }
    if (!keep_memory_reserve()) return 12;
    try {
      give(take(size_t{40} << 20));
      return 13;
    } catch (const std::bad_alloc&) {
      return 0;
    }
  };
  EXPECT_EQ(with_little_memory(kMemoryReserveBytes + (size_t{8} << 20), body), 0);
}

TEST_F(MemoryReserveTest, WhatIsSmallIsGivenAPartOfIt) {
  const auto body = [] {
    if (!keep_memory_reserve() || !fill_memory()) return 10;  // with small pieces to the end of that part
    try {
      give(take(kSmallAllocationBytes));
      return 11;
    } catch (const std::bad_alloc&) {
    }
    const MemoryPriority small_first(MemoryPriority::Level::kSmallFirst);
    try {
      (void)take(kSmallAllocationBytes);  // whose thread comes first with what is small
    } catch (const std::bad_alloc&) {
      return 12;
    }
    try {
      give(take(2 * kSmallAllocationBytes + (size_t{16} << 20)));
      return 13;
    } catch (const std::bad_alloc&) {
    }
    for (int piece = 1; piece < kFirstReservePieces; ++piece) {
      if (!release_memory_reserve()) return 14;
    }
    return release_memory_reserve() ? 15 : 0;
  };
  EXPECT_EQ(with_little_memory(kMemoryReserveBytes + (size_t{8} << 20), body), 0);
}

TEST_F(MemoryReserveTest, WhenAllIsGoneAnAllocationFailsAsEver) {
  const auto body = [] {
    if (!keep_memory_reserve() || !fill_memory()) return 10;
    const MemoryPriority first;
    try {
      give(take(kMemoryReserveBytes + (size_t{16} << 20)));
      return 11;
    } catch (const std::bad_alloc&) {
      return 0;
    }
  };
  EXPECT_EQ(with_little_memory(kMemoryReserveBytes + (size_t{8} << 20), body), 0);
}

}  // namespace
}  // namespace umbel
