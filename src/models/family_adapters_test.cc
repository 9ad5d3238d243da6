// Adapters of every kind on every model family against the logits that transformers and PEFT compute (tests/goldens/family_adapters.json,
// recorded by tools/record_family_adapter_goldens.py): fused projections, Conv1D, LayerNorms saved whole, embeddings and heads.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "adapters/registry.h"
#include "adapters/tensor_names.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

const Json& golden() {
  static const Json kGolden = read_json(testing::source_dir() / "tests/goldens/family_adapters.json").value();
  return kGolden;
}

// The recorder's value().
Tensor adapter_tensor(const std::string& name, const Shape& shape) {
  const auto contains = [&](const char* part) { return name.find(part) != std::string::npos; };
  const bool ones = contains("ia3_l") || contains("magnitude") || (shape.size() == 1 && name.ends_with(".weight"));
  const Tensor noise = testing::golden_tensor("noise." + name, {element_count(shape), 1});
  Tensor tensor(DType::kF32, shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] = (ones ? 1.0f : 0.0f) + 0.25f * (noise.f32()[i] / 2.0f);
  return tensor;
}

class FamilyAdapterTest : public ::testing::TestWithParam<Json> {
 protected:
  FamilyAdapterTest() : base_(testing::read_golden(GetParam()["base"])) {
    testing::write_checkpoint(dir_.path(), base_["config"], testing::golden_tensors(base_));
    model_ = load_model(dir_.path(), {.dtype = "f32", .choice = choice_}).value();
  }

  Result<std::shared_ptr<const Adapter>> build() {
    const Json& item = GetParam();
    std::map<std::string, TensorView> file;
    for (const auto& [name, shape] : item["tensors"].items()) {
      const auto copied = item["copied"].get<std::vector<std::string>>();
      const bool is_copy = std::find(copied.begin(), copied.end(), name) != copied.end();
      Tensor tensor = is_copy ? base_copy(name) : adapter_tensor(name, shape.get<Shape>());
      file.emplace(name, tensors_.emplace_back(std::move(tensor)).view());
    }
    ASSIGN_OR_RETURN(NamedTensors named, canonical_tensors(file));
    config_ = OrderedJson::parse(item["config"].dump());
    ASSIGN_OR_RETURN(AdapterSpec spec, parse_spec(config_));
    source_ = {.spec = std::move(spec), .tensors = std::move(named.tensors), .spelled = std::move(named.spelled)};
    return build_adapter(source_, model_->targets(), {});
  }

  // What PEFT stores of the base's own embedding or head: a copy of the golden's weight.
  Tensor base_copy(const std::string& name) const {
    const std::string path = name.substr(17, name.find(".base_layer.") - 17);  // after base_model.model.
    const Target& target = model_->targets()[model_->targets().find(path)];
    if (name.ends_with(".bias")) return Tensor::widened({DType::kF32, {target.out}, target.vector});
    const bool head = target.kind == TargetKind::kHead;
    Tensor tensor(DType::kF32, {head ? target.out : target.in, head ? target.in : target.out});
    for (int64_t row = 0; row < tensor.shape()[0]; ++row) read_weight_row(target, row, tensor.f32() + row * tensor.shape()[1]);
    return tensor;
  }

  kernels::Choice choice_ = testing::test_choice();
  testing::TempDir dir_;
  Json base_;
  OrderedJson config_;
  AdapterSource source_;
  std::deque<Tensor> tensors_;
  std::shared_ptr<const Model> model_;
};

TEST_P(FamilyAdapterTest, LogitsEqualPeft) {
  const auto adapter = build();
  ASSERT_TRUE(adapter.ok()) << adapter.status().to_string();
  EXPECT_EQ((*adapter)->report().targets_applied, (*adapter)->report().targets_declared);
  testing::ForwardRunner runner(model_, choice_, 2);
  const std::vector<int32_t> prompt = testing::ints(golden()["prompts"][GetParam()["base"].get<std::string>()]);
  const std::vector<float> logits = runner.run({prompt, adapter->get()}, 4);
  std::vector<float> expected;
  for (const Json& row : GetParam()["logits"]) {
    for (const float value : testing::floats(row)) expected.push_back(value);
  }
  EXPECT_LT(testing::relative_difference(std::span(logits).last(expected.size()), expected), 2e-5);
  // Beside the bare base in one batch: the same bits.
  const std::vector<testing::TestSequence> both = {{prompt, adapter->get()}, {prompt}};
  EXPECT_EQ(runner.run_batch(both, 3)[0], logits);
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyAdapterTest, ::testing::ValuesIn(golden()["cases"].get<std::vector<Json>>()), [](const auto& info) {
  return info.param["base"].template get<std::string>() + "_" + info.param["name"].template get<std::string>();
});

}  // namespace
}  // namespace umbel
