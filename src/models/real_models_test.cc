// Two real small models against the reference C program that they come from (golden_run_c.json beside them, see the
// README of the data folder). Skipped where the data folder is not there.
#include <gtest/gtest.h>

#include "models/forward_testing.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

struct RealModel {
  const char* folder;
  size_t steps;
};

class RealModelTest : public ::testing::TestWithParam<RealModel> {
 protected:
  void SetUp() override {
    if (testing::data_dir().empty()) GTEST_SKIP() << "no folder of real inputs (UMBEL_DATA)";
    dir_ = testing::data_dir() / "models" / GetParam().folder;
    golden_ = read_json(dir_ / "golden_run_c.json").value();
  }
  testing::ForwardRunner runner(int threads) {
    return {load_model(dir_ / "hf", {.dtype = "f32", .choice = choice_}).value(), choice_, threads};
  }

  Path dir_;
  Json golden_;
  kernels::Choice choice_ = testing::test_choice();
};

TEST_P(RealModelTest, GreedyIdsFromTheFirstToken) {
  const std::vector<int32_t> expected = testing::ints(golden_["greedy"]);
  ASSERT_EQ(expected.size(), GetParam().steps);
  const std::vector<int32_t> bos = {1};
  EXPECT_EQ(runner(2).greedy(bos, expected.size()).ids, expected);
}

TEST_P(RealModelTest, LogitsAtEveryPosition) {
  std::vector<int32_t> tokens;
  std::vector<float> expected;
  for (const Json& row : golden_["logits"]) {
    tokens.push_back(row["token"].get<int32_t>());
    for (const float value : testing::floats(row["l"])) expected.push_back(value);
  }
  EXPECT_LT(testing::relative_difference(runner(1).run({tokens}), expected), 1e-4);
}

// These weights are f32: here the 16-bit modes round them, unlike seedling's.
TEST_P(RealModelTest, LossOfItsOwnStoryInSixteenBits) {
  std::vector<int32_t> tokens = {1};
  for (const int32_t id : testing::ints(golden_["greedy"])) tokens.push_back(id);
  tokens.resize(std::min<size_t>(tokens.size(), GetParam().steps));
  const auto loss = [&](const std::string& dtype) {
    testing::ForwardRunner narrow(load_model(dir_ / "hf", {.dtype = dtype, .choice = choice_}).value(), choice_);
    return testing::mean_loss(narrow, tokens);
  };
  const double reference = loss("f32");
  EXPECT_NEAR(loss("bf16"), reference, 0.005 * reference);
  EXPECT_NEAR(loss("f16"), reference, 0.005 * reference);
}

INSTANTIATE_TEST_SUITE_P(Data, RealModelTest,
                         ::testing::Values(RealModel{"stories260K", 200}, RealModel{"aidreams260K", 128}),
                         [](const auto& info) { return std::string(info.param.folder); });

}  // namespace
}  // namespace umbel
