// The embedded base against what Hugging Face computes with it (tests/goldens/peft_adapters/golden_peft.json, entry "base").
#include <gtest/gtest.h>

#include "models/forward_testing.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

using testing::ForwardRunner;

std::shared_ptr<const Model> load_seedling(const std::string& dtype, const kernels::Choice& choice) {
  return load_model(testing::source_dir() / "assets/seedling", {.dtype = dtype, .choice = choice}).value();
}

Json golden() { return read_json(testing::source_dir() / "tests/goldens/peft_adapters/golden_peft.json").value(); }

class SeedlingTest : public ::testing::TestWithParam<kernels::Isa> {};

TEST_P(SeedlingTest, GreedyIdsAndFirstLogitsEqualHuggingFace) {
  const kernels::Choice choice = testing::test_choice(std::string(kernels::isa_name(GetParam())));
  ForwardRunner runner(load_seedling("f32", choice), choice, 2);
  const Json rows = golden()["base"];
  ASSERT_FALSE(rows.empty());
  int rows_with_logits = 0;
  for (const Json& row : rows) {
    const std::vector<int32_t> expected = testing::ints(row["greedy_ids"]);
    const testing::GreedyRun run = runner.greedy(testing::ints(row["prompt_ids"]), expected.size());
    if (row["smallest_gap"].get<double>() >= 1e-4) {
      EXPECT_EQ(run.ids, expected) << row["prompt"];
    }
    if (!row.contains("first_logits") || row["first_logits"].is_null()) continue;
    // The file has five decimals.
    EXPECT_LT(testing::relative_difference(run.first_logits, testing::floats(row["first_logits"])), 1e-4);
    ++rows_with_logits;
  }
  EXPECT_GT(rows_with_logits, 0);
}

INSTANTIATE_TEST_SUITE_P(Isas, SeedlingTest, ::testing::ValuesIn(kernels::available_isas()),
                         [](const auto& info) { return std::string(kernels::isa_name(info.param)); });

}  // namespace
}  // namespace umbel
