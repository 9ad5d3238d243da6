// Tiny random models with an adapter of every kind and PEFT field, as PEFT saved them, against the logits that
// transformers and PEFT compute (tests/goldens/adapters, recorded by tools/record_adapter_goldens.py). Also: the merged
// weights compute the same, and what PEFT can save but is not computed here is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/apply.h"
#include "adapters/merge.h"
#include "adapters/registry.h"
#include "base/random.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

Path folder() { return testing::source_dir() / "tests/goldens/adapters"; }

const Json& golden() {
  static const Json kGolden = read_json(folder() / "goldens.json").value();
  return kGolden;
}

std::shared_ptr<const Model> load_base(const Json& item, const std::string& dtype, const kernels::Choice& choice) {
  return load_model(folder() / item["base"].get<std::string>(), {.dtype = dtype, .choice = choice}).value();
}

Result<std::shared_ptr<const Adapter>> load_adapter(const std::string& name, const Model& model) {
  ASSIGN_OR_RETURN(const PeftDir dir, PeftDir::read(folder() / name));
  return build_adapter(dir.source(), model.targets(), {.factor_dtype = model.factor_dtype()});
}

std::vector<Json> list(const char* key) { return golden()[key].get<std::vector<Json>>(); }

std::string case_name(const ::testing::TestParamInfo<Json>& info) {
  const std::string name = info.param["name"];
  return name.empty() ? info.param["base"].get<std::string>() : name;
}

class AdapterGoldenTest : public ::testing::TestWithParam<Json> {};

TEST_P(AdapterGoldenTest, LogitsEqualPeft) {
  for (const kernels::Isa isa : kernels::available_isas()) {
    const kernels::Choice choice = testing::test_choice(std::string(kernels::isa_name(isa)));
    const auto model = load_base(GetParam(), "f32", choice);
    std::shared_ptr<const Adapter> adapter;
    if (const std::string name = GetParam()["name"]; !name.empty()) {
      auto loaded = load_adapter(name, *model);
      ASSERT_TRUE(loaded.ok()) << loaded.status().to_string();
      adapter = std::move(loaded).value();
      EXPECT_EQ(adapter->report().targets_applied, adapter->report().targets_declared);
      // PEFT ignores rank_pattern for HiRA, which is worth a warning.
      EXPECT_EQ(adapter->report().warnings.empty(), name != "hira_pattern");
    }
    testing::ForwardRunner runner(model, choice);
    const std::vector<float> logits = runner.run({testing::ints(golden()["tokens"]), adapter.get()}, 3);
    const std::vector<float> expected = testing::floats(GetParam()["logits"]);
    ASSERT_GT(logits.size(), expected.size());
    EXPECT_LT(testing::relative_difference(std::span(logits).last(expected.size()), expected), 1e-5)
        << kernels::isa_name(isa);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AdapterGoldenTest, ::testing::ValuesIn(list("cases")), case_name);

// apply_linear against the dense merged weight, at every layer that any recorded adapter touches.
TEST_P(AdapterGoldenTest, MergedWeightsComputeTheSame) {
  const std::string name = GetParam()["name"];
  const kernels::Choice choice = testing::test_choice();
  const auto model = load_base(GetParam(), "f32", choice);
  const auto adapter = name.empty() ? nullptr : load_adapter(name, *model).value();
  constexpr int32_t kRows = 3;
  ThreadPool pool(1);
  Random random(mix_key({name.size()}));
  for (int32_t index = 0; index < model->targets().size(); ++index) {
    const Target& target = model->targets()[index];
    if (target.kind != TargetKind::kLinear && target.kind != TargetKind::kHead) continue;
    std::vector<float> x(kRows * target.in), y(kRows * target.out);
    for (float& number : x) number = static_cast<float>(random.next_normal());
    const Segment segment{0, kRows, adapter.get()};
    const int64_t rank_max = adapter == nullptr ? 0 : adapter->rank_max();
    Arena scratch(apply_linear_scratch_bytes(kRows, target.in, target.out, rank_max));
    kernels::Context context{kernels::table_for(choice.isa), choice, pool, scratch};
    apply_linear(context, model->targets(), index, {&segment, 1}, ConstMatrixF(x.data(), kRows, target.in),
                 MatrixF(y.data(), kRows, target.out));
    const MergedLinear merged = merge_linear(target, adapter == nullptr ? nullptr : adapter->linear(index));
    std::vector<float> expected(kRows * target.out);
    for (int64_t i = 0; i < kRows * target.out; ++i) {
      const int64_t row = i / target.out, o = i % target.out;
      double sum = merged.bias.empty() ? 0.0 : merged.bias.f32()[o];
      for (int64_t k = 0; k < target.in; ++k)
        sum += double{merged.weight.f32()[o * target.in + k]} * x[row * target.in + k];
      expected[i] = static_cast<float>(sum);
    }
    EXPECT_LT(testing::relative_difference(y, expected), 1e-5) << target.path;
  }
}

class AdapterRefusalTest : public ::testing::TestWithParam<Json> {};

TEST_P(AdapterRefusalTest, NamesTheField) {
  const auto model = load_base(GetParam(), "f32", testing::test_choice());
  const auto adapter = load_adapter(GetParam()["name"], *model);
  ASSERT_FALSE(adapter.ok());
  EXPECT_EQ(adapter.status().code(), Code::kUnsupported);
  EXPECT_THAT(adapter.status().message(), ::testing::HasSubstr(GetParam()["field"].get<std::string>()));
}

INSTANTIATE_TEST_SUITE_P(Cases, AdapterRefusalTest, ::testing::ValuesIn(list("refused")), case_name);

// All cases of a base in one batch: every one gives the bits that it gives alone, in f32 and bf16.
TEST(AdapterGoldenMixTest, OneBatchOfAllEqualsEachAlone) {
  const kernels::Choice choice = testing::test_choice();
  for (const std::string base : {"base_tied", "base_untied"}) {
    for (const std::string dtype : {"f32", "bf16"}) {
      const auto model = load_base({{"base", base}}, dtype, choice);
      std::vector<std::shared_ptr<const Adapter>> adapters;
      std::vector<testing::TestSequence> sequences;
      for (const Json& item : list("cases")) {
        if (item["base"] != base) continue;
        const std::string name = item["name"];
        adapters.push_back(name.empty() ? nullptr : load_adapter(name, *model).value());
        sequences.push_back({testing::ints(golden()["tokens"]), adapters.back().get()});
      }
      ASSERT_GT(sequences.size(), 20u);
      const auto together = testing::ForwardRunner(model, choice, 2).run_batch(sequences, 5);
      testing::ForwardRunner alone(model, choice);
      for (size_t i = 0; i < sequences.size(); ++i) {
        EXPECT_EQ(alone.run(sequences[i]), together[i]) << base << " " << dtype << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace umbel
