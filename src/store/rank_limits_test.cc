#include "store/rank_limits.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

TEST(RankLimits, OneNumberIsForAllKindsAndAListForThoseItNames) {
  const RankLimits all = parse_rank_limits("64").value();
  EXPECT_EQ(all.of("lora"), 64);
  EXPECT_EQ(all.of("flora"), 64);
  const RankLimits some = parse_rank_limits("lora=256,flora=32").value();
  EXPECT_EQ(some.of("lora"), 256);
  EXPECT_EQ(some.of("flora"), 32);
  EXPECT_EQ(some.of("hira"), RankLimits().of("hira"));
  EXPECT_EQ(some.of("vera"), RankLimits().of("vera"));
}

TEST(RankLimits, AnythingElseIsRefusedWithTheKinds) {
  for (const char* bad : {"", "0", "-1", "4097", "64x", "lora", "lora=", "=8", "nope=8", "lora=8,", "lora=8,,flora=8", "lora=8;flora=8", "99999999999"}) {
    const auto limits = parse_rank_limits(bad);
    ASSERT_FALSE(limits.ok()) << bad;
    EXPECT_NE(limits.status().message().find("flora"), std::string::npos);
  }
}

TEST(RankLimits, TheRefusalHasBothNumbers) {
  const RankLimits limits = parse_rank_limits("flora=32").value();
  EXPECT_TRUE(check_rank(limits, "flora", 32).ok());
  const Status refused = check_rank(limits, "flora", 512);
  for (const char* part : {"512", "32", "flora", "--max-rank"}) EXPECT_NE(refused.message().find(part), std::string::npos) << refused.message();
}

}  // namespace
}  // namespace umbel
