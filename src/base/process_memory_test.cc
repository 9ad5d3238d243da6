#include "base/process_memory.h"
#include "base/sanitized_testing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

namespace umbel {
namespace {

// The kernel counts pages per CPU and sums them lazily, so each figure may lag by some hundred pages.
constexpr size_t kLag = size_t{4} << 20;

TEST(ProcessMemory, TouchedMemoryIsResidentAndStaysInThePeak) {
  if (resident_bytes() == 0) GTEST_SKIP() << "this system does not tell";
  constexpr size_t kBytes = size_t{64} << 20;
  const size_t before = resident_bytes();
  {
    const std::unique_ptr<char[]> block(new char[kBytes]);
    std::memset(block.get(), 1, kBytes);
    EXPECT_GE(resident_bytes() + kLag, before + kBytes) << block[kBytes / 2];
  }
  EXPECT_GE(peak_resident_bytes() + kLag, before + kBytes);
  EXPECT_GE(peak_resident_bytes() + kLag, resident_bytes());
}

// Many blocks that the allocator keeps for itself once freed, since something lives above them.
TEST(ProcessMemory, FreedMemoryGoesBack) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer's allocator keeps what is freed";
  if (resident_bytes() == 0) GTEST_SKIP() << "this system does not tell";
  constexpr size_t kBlock = size_t{64} << 10, kBlocks = 1024;
  std::vector<std::unique_ptr<char[]>> blocks;
  for (size_t i = 0; i < kBlocks; ++i) std::memset(blocks.emplace_back(new char[kBlock]).get(), 1, kBlock);
  const std::unique_ptr<char[]> above(new char[64]);
  const size_t full = resident_bytes();
  blocks.clear();
  return_freed_memory();
  EXPECT_LT(resident_bytes(), full - kBlock * kBlocks / 2) << static_cast<void*>(above.get());
}

}  // namespace
}  // namespace umbel
