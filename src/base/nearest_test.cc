#include "base/nearest.h"

#include <gtest/gtest.h>

#include <vector>

namespace umbel {
namespace {

TEST(Nearest, DistanceCountsEditsAndSwapsOnce) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("rank", "rank"), 0u);
  EXPECT_EQ(edit_distance("", "rank"), 4u);
  EXPECT_EQ(edit_distance("rank", ""), 4u);
  EXPECT_EQ(edit_distance("rnak", "rank"), 1u);
  EXPECT_EQ(edit_distance("ranks", "rank"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("sitting", "kitten"), 3u);
}

TEST(Nearest, FindsWhatWasMeantAndNothingWhenNothingIsNear) {
  const std::vector<std::string> known = {"learning_rate", "rank", "alpha", "epochs", "eval_data", "data"};
  EXPECT_EQ(nearest_name("learning_rte", known), "learning_rate");
  EXPECT_EQ(nearest_name("learning-rate", known), "learning_rate");
  EXPECT_EQ(nearest_name("Epoch", known), "epochs");
  EXPECT_EQ(nearest_name("eval_dta", known), "eval_data");
  EXPECT_EQ(nearest_name("dtaa", known), "data");
  EXPECT_EQ(nearest_name("zzzzzz", known), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'x'), known), "");
  EXPECT_EQ(nearest_name("", known), "");
}

}  // namespace
}  // namespace umbel
