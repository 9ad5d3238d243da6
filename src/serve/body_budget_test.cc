#include "serve/body_budget.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace umbel::serve {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class BodyBudgetTest : public testing::Test {
 protected:
  std::shared_ptr<Bell> bell() { return std::make_shared<Bell>(io_.get_executor()); }
  boost::asio::io_context io_;
  BodyBudget budget_{8 * kMiB};
};

TEST_F(BodyBudgetTest, CountsWhatIsHeldAndGivesItBack) {
  {
    BodyBudget::Share one(budget_);
    EXPECT_TRUE(one.grow(kMiB, bell()));
    EXPECT_TRUE(one.grow(kMiB / 2, bell()));  // never shrinks
    EXPECT_TRUE(one.grow(3 * kMiB, bell()));
    EXPECT_EQ(budget_.bytes_used(), 3 * kMiB);
  }
  EXPECT_EQ(budget_.bytes_used(), 0u);
}

TEST_F(BodyBudgetTest, LargeBodiesLeaveRoomForSmallOnes) {
  BodyBudget::Share large(budget_), other(budget_), small(budget_);
  EXPECT_TRUE(large.grow(7 * kMiB, bell()));
  EXPECT_FALSE(other.grow(kMiB, bell()));
  EXPECT_TRUE(small.grow(BodyBudget::kSmallBytes, bell()));
  EXPECT_FALSE(BodyBudget::Share(budget_).grow(9 * kMiB, bell()));  // more than there is
}

TEST_F(BodyBudgetTest, LargeOnesComeInTurn) {
  BodyBudget::Share first(budget_), second(budget_), third(budget_);
  EXPECT_TRUE(first.grow(6 * kMiB, bell()));
  EXPECT_FALSE(second.grow(5 * kMiB, bell()));
  EXPECT_FALSE(third.grow(kMiB / 2, bell())) << "it would fit, but another was first";
  first.release();
  EXPECT_FALSE(third.grow(kMiB / 2, bell()));
  EXPECT_TRUE(second.grow(5 * kMiB, bell()));
  EXPECT_TRUE(third.grow(kMiB / 2, bell()));
}

TEST_F(BodyBudgetTest, WhoGivesUpKeepsNobodyWaiting) {
  BodyBudget::Share first(budget_), third(budget_);
  EXPECT_TRUE(first.grow(6 * kMiB, bell()));
  {
    BodyBudget::Share second(budget_);
    EXPECT_FALSE(second.grow(5 * kMiB, bell()));
    EXPECT_FALSE(third.grow(kMiB / 2, bell()));
  }
  EXPECT_TRUE(third.grow(kMiB / 2, bell()));
}

}  // namespace
}  // namespace umbel::serve
