#include "base/process_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

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

}  // namespace
}  // namespace umbel
