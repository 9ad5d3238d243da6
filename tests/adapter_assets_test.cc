// seedling with each of its ten adapters against what transformers and PEFT compute (tests/goldens/peft_adapters/golden_peft.json):
// alone, and all eleven mixed in one batch.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "adapters/registry.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

using testing::ForwardRunner;

const std::vector<std::string>& names() {
  static const std::vector<std::string> kNames = {
      "banking77-flora-r1",    "banking77-lora-r8",  "bc5cdr-lora-r32",    "clinc150-ia3",
      "clinc150-lora-r3",      "clinc150-vera-r256", "e2e_nlg-rslora-r16", "restaurant8k-dora-r16",
      "restaurant8k-flora-r4", "shakespeare-lora-r4"};
  return kNames;
}

std::shared_ptr<const Model> seedling(const std::string& dtype, const kernels::Choice& choice) {
  return load_model(testing::source_dir() / "assets/seedling", {.dtype = dtype, .choice = choice}).value();
}

std::shared_ptr<const Adapter> load(const std::string& name, const Model& model) {
  const PeftDir dir = PeftDir::read(testing::source_dir() / "tests/goldens/peft_adapters" / name).value();
  return build_adapter(dir.source(), model.targets(), {.factor_dtype = model.factor_dtype()}).value();
}

const Json& golden() {
  static const Json kGolden = read_json(testing::source_dir() / "tests/goldens/peft_adapters/golden_peft.json").value();
  return kGolden;
}

class AdapterAssetsTest : public ::testing::TestWithParam<std::string> {};

TEST_P(AdapterAssetsTest, GreedyIdsAndFirstLogitsEqualPeft) {
  const kernels::Choice choice = testing::test_choice();
  const auto model = seedling("f32", choice);
  ForwardRunner runner(model, choice, 2);
  const auto adapter = load(GetParam(), *model);
  const Json& rows = golden()[GetParam()];
  ASSERT_EQ(rows.size(), 12u);
  double worst = 0.0;
  for (const Json& row : rows) {
    const std::vector<int32_t> expected = testing::ints(row["greedy_ids"]);
    const testing::GreedyRun run = runner.greedy(testing::ints(row["prompt_ids"]), expected.size(), adapter.get());
    if (row["smallest_gap"].get<double>() >= 1e-4) {
      EXPECT_EQ(run.ids, expected) << row["prompt"];
    }
    if (row["first_logits"].is_null()) continue;
    worst = std::max(worst, testing::relative_difference(run.first_logits, testing::floats(row["first_logits"])));
  }
  EXPECT_GT(worst, 0.0);  // some rows have logits; the file has five decimals
  EXPECT_LT(worst, 1e-4);
  RecordProperty("worst_logit_difference", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Ten, AdapterAssetsTest, ::testing::ValuesIn(names()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// Base and ten adapters in one batch: bit for bit what each computes alone, for every arithmetic and weight type here.
TEST(AdapterMixTest, OneBatchOfAllEqualsEachAlone) {
  for (const kernels::Isa isa : kernels::available_isas()) {
    for (const kernels::Arithmetic arithmetic : kernels::available_arithmetics(isa)) {
      for (const std::string dtype : {"f32", "bf16"}) {
        const kernels::Choice choice{.isa = isa, .arithmetic = arithmetic};
        const auto model = seedling(dtype, choice);
        std::vector<std::shared_ptr<const Adapter>> adapters;
        std::vector<testing::TestSequence> sequences = {{testing::ints(golden()["base"][0]["prompt_ids"])}};
        for (const std::string& name : names()) {
          adapters.push_back(load(name, *model));
          std::vector<int32_t> prompt = testing::ints(golden()[name][1]["prompt_ids"]);
          prompt.resize(std::min<size_t>(prompt.size(), 12));
          sequences.push_back({prompt, adapters.back().get()});
        }
        const auto together = ForwardRunner(model, choice, 2).run_batch(sequences, 7);
        ForwardRunner alone(model, choice, 1);
        for (size_t i = 0; i < sequences.size(); ++i) {
          const std::vector<float> expected = alone.run(sequences[i]);
          ASSERT_EQ(expected.size(), together[i].size());
          EXPECT_EQ(std::memcmp(expected.data(), together[i].data(), expected.size() * sizeof(float)), 0)
              << kernels::isa_name(isa) << " " << kernels::arithmetic_name(arithmetic) << " " << dtype << " sequence "
              << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace umbel
