// Packing changes how many examples a step takes, and nothing else: examples that share a unit, or a pass, do not see each
// other.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/random.h"
#include "data/packing.h"
#include "train/step/trainer.h"

namespace umbel::train {
namespace {

class PackTraining : public testing::Test {
 protected:
  void SetUp() override {
    const char* source = std::getenv("UMBEL_SOURCE_DIR");
    ASSERT_NE(source, nullptr);
    choice_ = kernels::choose({.arithmetic = "f32-fma"}).value();
    model_ = load_model(Path(source) / "assets/seedling", {.dtype = "f32", .choice = choice_}).value();
    Random random(11);
    for (int row = 0; row < 12; ++row) {
      data::Example example{.line = row + 1};
      const size_t length = 3 + random.next_below(30);
      for (size_t i = 0; i < length; ++i) {
        example.tokens.push_back(static_cast<TokenId>(6 + random.next_below(4000)));
        example.trained.push_back(i > length / 2 ? 1 : 0);
        data_.trained_tokens += example.trained.back();
      }
      data_.examples.push_back(std::move(example));
    }
  }

  struct Outcome {
    StepReport report;
    std::vector<std::vector<float>> gradients;
  };
  // One step over everything.
  Outcome one_step(const data::Dataset& data, int64_t pass_rows) {
    auto trainer = Trainer::create(model_, {.choice = choice_, .threads = 1, .pass_rows_max = pass_rows}).value();
    const JobSpec spec{.name = "job", .learning_rate = 1e-3, .clip = 0, .epochs = 1, .batch = static_cast<int64_t>(data.units())};
    EXPECT_TRUE(trainer->add_job(spec, data, "seedling").ok());
    // B is zero at first, and so would be A's gradient.
    for (Parameter& parameter : trainer->adapter(0).parameters()) {
      Random random(parameter.value.elements());
      for (int64_t i = 0; i < parameter.value.elements(); ++i) parameter.value.f32()[i] = static_cast<float>(0.05 * random.next_normal());
    }
    trainer->adapter(0).materialize();
    Outcome outcome;
    const auto reports = trainer->step();
    EXPECT_EQ(reports.size(), 1u);
    outcome.report = reports.at(0);
    for (const Parameter& parameter : trainer->adapter(0).parameters()) {
      outcome.gradients.emplace_back(parameter.gradient.f32(), parameter.gradient.f32() + parameter.gradient.elements());
    }
    return outcome;
  }

  kernels::Choice choice_;
  std::shared_ptr<const Model> model_;
  data::Dataset data_;
};

TEST_F(PackTraining, ExamplesInOnePassHaveTheBitsOfExamplesAlone) {
  const Outcome together = one_step(data_, 1024), alone = one_step(data_, 1);
  EXPECT_EQ(together.report.loss, alone.report.loss);
  ASSERT_EQ(together.gradients.size(), alone.gradients.size());
  for (size_t p = 0; p < together.gradients.size(); ++p) {
    EXPECT_EQ(std::memcmp(together.gradients[p].data(), alone.gradients[p].data(), together.gradients[p].size() * sizeof(float)), 0) << p;
  }
}

TEST_F(PackTraining, PackedLossAndGradientsAreTheUnpackedOnes) {
  data::Dataset packed = data_;
  data::pack_examples(packed, 64);
  ASSERT_LT(packed.units(), data_.units());
  ASSERT_GT(packed.units(), 1u);
  const Outcome expected = one_step(data_, 1024), got = one_step(packed, 1024);
  EXPECT_EQ(got.report.tokens, expected.report.tokens);
  EXPECT_NEAR(got.report.loss, expected.report.loss, 1e-6 * expected.report.loss);  // the sums run in another order
  for (size_t p = 0; p < expected.gradients.size(); ++p) {
    double largest = 0;
    for (const float value : expected.gradients[p]) largest = std::max(largest, std::abs(static_cast<double>(value)));
    ASSERT_GT(largest, 0);
    for (size_t i = 0; i < expected.gradients[p].size(); ++i) {
      ASSERT_NEAR(got.gradients[p][i], expected.gradients[p][i], 1e-6 * largest) << p << " " << i;
    }
  }
}

TEST_F(PackTraining, AStepOfPackedRowsTakesUnits) {
  data::Dataset packed = data_;
  data::pack_examples(packed, 64);
  auto trainer = Trainer::create(model_, {.choice = choice_, .threads = 1}).value();
  ASSERT_TRUE(trainer->add_job({.name = "job", .epochs = 1, .batch = 1}, packed, "seedling").ok());
  int64_t tokens = 0, steps = 0;
  for (auto reports = trainer->step(); !reports.empty(); reports = trainer->step()) {
    tokens += reports[0].tokens;
    EXPECT_LE(reports[0].tokens, 63);
    ++steps;
  }
  EXPECT_EQ(steps, static_cast<int64_t>(packed.units()));
  int64_t all = 0;
  for (const data::Example& example : data_.examples) all += static_cast<int64_t>(example.tokens.size()) - 1;
  EXPECT_EQ(tokens, all);
}

}  // namespace
}  // namespace umbel::train
