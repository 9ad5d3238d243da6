// Tiny random models of every family and feature against what transformers computed (tools/record_model_goldens.py):
// logits of the whole prompt, greedy generation over the KV cache, and the same bits however the prompt is cut.
#include <gtest/gtest.h>

#include "models/forward_testing.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

using testing::ForwardRunner;
using testing::TestSequence;

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  std::error_code ignored;
  const Path folder = testing::source_dir() / "tests/goldens/models";
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class FamilyTest : public ::testing::TestWithParam<std::string> {
 protected:
  FamilyTest() : golden_(testing::read_golden(GetParam())) {
    testing::write_checkpoint(dir_.path(), golden_["config"], testing::golden_tensors(golden_));
  }
  std::shared_ptr<const Model> load(const std::string& dtype = "auto") {
    Result<std::shared_ptr<const Model>> model = load_model(dir_.path(), {.dtype = dtype, .choice = choice_});
    CHECK(model.ok(), model.status().message().c_str());
    return *model;
  }
  std::vector<int32_t> prompt() { return testing::ints(golden_["prompt_ids"]); }

  testing::TempDir dir_;
  Json golden_;
  kernels::Choice choice_ = testing::test_choice();
};

TEST_P(FamilyTest, LogitsOfThePromptEqualTransformers) {
  for (const kernels::Isa isa : kernels::available_isas()) {
    choice_ = testing::test_choice(std::string(kernels::isa_name(isa)));
    ForwardRunner runner(load(), choice_);
    const std::vector<float> logits = runner.run({prompt()});
    std::vector<float> expected;
    for (const Json& row : golden_["logits"]) {
      for (const float value : testing::floats(row)) expected.push_back(value);
    }
    EXPECT_LT(testing::relative_difference(logits, expected), 1e-4) << kernels::isa_name(isa);
  }
}

TEST_P(FamilyTest, GreedyIdsEqualTransformers) {
  ForwardRunner runner(load(), choice_, 2);
  const std::vector<int32_t> expected = testing::ints(golden_["greedy_ids"]);
  ASSERT_GT(golden_["smallest_gap"].get<double>(), 1e-3) << "record another prompt: this one is a coin toss";
  EXPECT_EQ(runner.greedy(prompt(), expected.size()).ids, expected);
}

TEST_P(FamilyTest, EveryWayToCutTheSequenceGivesTheSameBits) {
  TestSequence sequence{prompt()};
  sequence.prompt = sequence.tokens.size();
  for (const int32_t id : testing::ints(golden_["greedy_ids"])) sequence.tokens.push_back(id);
  const kernels::Isa isa = choice_.isa;
  for (const kernels::Arithmetic arithmetic : kernels::available_arithmetics(isa)) {
    choice_ = testing::test_choice(std::string(kernels::isa_name(isa)),
                                   std::string(kernels::arithmetic_name(arithmetic)));
    for (const char* dtype : {"f32", "bf16", "f16"}) {
      ForwardRunner runner(load(dtype), choice_, 2);
      const std::vector<float> whole = runner.run(sequence);
      for (const size_t chunk : {1, 3, 7, 16}) {
        EXPECT_EQ(runner.run(sequence, chunk), whole) << dtype << " " << choice_.reason << ", chunks of " << chunk;
      }
    }
  }
}

// Window, RoPE and block tables belong to a row, not to the batch.
TEST_P(FamilyTest, BatchMatesChangeNothing) {
  ForwardRunner runner(load(), choice_, 2);
  std::vector<TestSequence> sequences(3);
  sequences[0].tokens = prompt();
  sequences[1].tokens = {5, 9, 33};
  sequences[2].tokens = prompt();
  std::reverse(sequences[2].tokens.begin(), sequences[2].tokens.end());
  const std::vector<std::vector<float>> together = runner.run_batch(sequences, 4);
  for (size_t i = 0; i < sequences.size(); ++i) EXPECT_EQ(runner.run(sequences[i]), together[i]) << i;
}

TEST_P(FamilyTest, EveryTensorIsATarget) {
  const std::shared_ptr<const Model> model = load();
  int64_t parameters = 0;
  for (const auto& [name, shape] : golden_["tensors"].items()) {
    parameters += element_count(shape.get<Shape>());
    const std::string path = name.substr(0, name.rfind('.'));
    ASSERT_GE(model->targets().find(path), 0) << path;
    const Target& target = model->targets()[model->targets().find(path)];
    const bool norm_bias = name.ends_with(".bias") && target.kind == TargetKind::kNorm;
    if (name.ends_with(".bias") || target.kind == TargetKind::kNorm) {
      EXPECT_NE(norm_bias ? target.norm_bias : target.vector, nullptr) << name;
    }
  }
  EXPECT_EQ(model->parameters(), parameters);
  EXPECT_GE(model->weight_bytes(), static_cast<size_t>(parameters) * 4);
  const Target& head = model->targets()[model->targets().find("lm_head")];
  EXPECT_EQ(head.kind, TargetKind::kHead);
  EXPECT_EQ(head.tied, model->config().tie_word_embeddings);
}

TEST_P(FamilyTest, ScratchIsEnoughAndNotFarTooMuch) {
  ForwardRunner runner(load(), choice_, 2);
  runner.run({prompt()});
  EXPECT_LE(runner.scratch_peak_bytes(), runner.scratch_planned_bytes());  // else the arena would have stopped the test
  EXPECT_GT(runner.scratch_peak_bytes(), size_t{0});
  EXPECT_EQ(runner.scratch_peak_bytes() % 64, size_t{0});
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyTest, ::testing::ValuesIn(golden_names()),
                         [](const auto& info) { return info.param; });

TEST(FamilyTestSetup, GoldensAreThere) { EXPECT_GE(golden_names().size(), size_t{20}); }

}  // namespace
}  // namespace umbel
