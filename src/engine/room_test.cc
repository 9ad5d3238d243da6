#include "engine/room.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

TEST(Room, TheContextOrTheKvMemoryEndsIt) {
  Limits limits;
  limits.context_max = 100;
  limits.kv_blocks = 1000;
  EXPECT_EQ(request_tokens_max(limits), 100);
  EXPECT_TRUE(check_room(limits, 90, 10).ok());
  const Status context = check_room(limits, 90, 11);
  EXPECT_EQ(context.code(), Code::kTooLong);
  for (const char* words : {"maximum context length is 100 tokens", "101", "90", "11"})
    EXPECT_NE(context.message().find(words), std::string::npos) << context.message();
  limits.kv_blocks = 2;
  const int64_t most = request_tokens_max(limits);
  EXPECT_LT(most, 100);
  const Status memory = check_room(limits, most, 1);
  EXPECT_NE(memory.message().find("KV memory has room for " + std::to_string(most)), std::string::npos);
  EXPECT_FALSE(check_room(limits, INT32_MAX, INT32_MAX).ok());
}

}  // namespace
}  // namespace umbel
