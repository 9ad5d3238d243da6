// Full training: gradients of every kind of module against torch in double (tests/goldens/full_gradients.json, recorded by
// tools/record_full_gradient_goldens.py), the bits that a job owes to nobody, and the checkpoint it leaves.
#include <gtest/gtest.h>

#include <cmath>

#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "train/step/full_testing.h"
#include "train/step/trainer.h"

namespace umbel::train {
namespace {

using testing::TempDir;

Json goldens() { return read_json(testing::source_dir() / "tests/goldens/full_gradients.json").value(); }

// A tiny checkpoint of a golden's case in a folder of its own.
class TinyBase {
 public:
  explicit TinyBase(const std::string& name) : golden_(goldens()), case_(golden_["cases"][name]) {
    std::map<std::string, Tensor> tensors;
    const Json& c = case_["config"];
    for (const auto& [tensor, gradient] : case_["gradients"].items()) {
      Tensor values(DType::kF32, gradient["shape"].get<Shape>());
      const bool gain = values.shape().size() == 1 && tensor.ends_with(".weight");
      for (int64_t i = 0; i < values.elements(); ++i) {
        values.f32()[i] = testing::golden_noise(static_cast<uint64_t>(i), tensor) * 0.25f;
        if (gain) values.f32()[i] += 1.0f;
      }
      tensors.emplace(tensor, std::move(values));
    }
    testing::write_checkpoint(dir_.path(), c, tensors);
    for (const Json& row : golden_["rows"]) {
      data::Example example{.tokens = row.get<std::vector<TokenId>>()};
      example.trained.assign(example.tokens.size(), 1);
      example.trained[0] = 0;
      data_.examples.push_back(std::move(example));
    }
  }

  Path dir() const { return dir_.path(); }
  const Json& golden() const { return case_; }
  data::Dataset& data() { return data_; }
  std::shared_ptr<const Model> model(const std::string& dtype = "f32") const {
    auto model = load_model(dir_.path(), {.dtype = dtype, .choice = choice_});
    CHECK(model.ok(), model.status().message().c_str());
    return *model;
  }
  std::unique_ptr<Trainer> trainer(std::shared_ptr<const Model> model, int threads = 1, int64_t pass_rows = 1024) const {
    return Trainer::create(std::move(model), {.choice = choice_, .threads = threads, .pass_rows_max = pass_rows}).value();
  }
  JobSpec spec() const {
    return {.name = "full", .kind = TrainKind::kFull, .learning_rate = 1e-3, .schedule = ScheduleKind::kConstant, .warmup_share = 0,
            .full = {.base_dir = dir_.path().string()}, .epochs = 3, .batch = 3, .shuffle = false};
  }
  const kernels::Choice& choice() const { return choice_; }

 private:
  kernels::Choice choice_ = testing::test_choice();
  Json golden_, case_;
  TempDir dir_;
  data::Dataset data_;
};

std::string bits(TrainableAdapter& adapter) {
  std::string all;
  for (const Parameter& p : adapter.parameters()) all.append(static_cast<const char*>(p.value.data()), p.value.bytes());
  return all;
}

class FullGradients : public ::testing::TestWithParam<const char*> {};

TEST_P(FullGradients, OfEveryModuleAreTorchs) {
  TinyBase base(GetParam());
  const auto t = base.trainer(base.model());
  const Status added = t->add_job(base.spec(), base.data(), "tiny");
  ASSERT_TRUE(added.ok()) << added.message();
  const auto reports = t->step();
  ASSERT_EQ(reports.size(), 1u);
  // torch computes the norms of later families in f32, whatever the model's type.
  const double tolerance = std::string(GetParam()).find('-') != std::string::npos ? 2e-5 : 1e-4;
  EXPECT_NEAR(reports[0].loss, base.golden()["loss"].get<double>(), tolerance);
  const Json& gradients = base.golden()["gradients"];
  ASSERT_EQ(t->adapter(0).parameters().size(), gradients.size()) << "every tensor is trained";
  for (const Parameter& p : t->adapter(0).parameters()) {
    ASSERT_TRUE(gradients.contains(p.tensor)) << p.tensor;
    const Json& expected = gradients[p.tensor];
    const int64_t count = p.value.elements(), stride = std::max<int64_t>(1, count / 6);
    const double largest = expected["largest"];
    double squares = 0;
    for (int64_t i = 0; i < count; ++i) squares += static_cast<double>(p.gradient.f32()[i]) * p.gradient.f32()[i];
    // A key's bias moves all scores of a query alike: its gradient is zero, but for rounding.
    const double rounding = 1e-7;
    EXPECT_NEAR(std::sqrt(squares), expected["norm"].get<double>(), tolerance * expected["norm"].get<double>() + rounding) << p.tensor;
    ASSERT_EQ(static_cast<int64_t>(expected["values"].size()), (count + stride - 1) / stride) << p.tensor;
    const int64_t rows = p.gradient.shape()[0], cols = p.gradient.shape()[1];
    for (int64_t i = 0; i < count; i += stride) {
      const int64_t at = p.transposed ? i % rows * cols + i / rows : i;  // the golden is in the file's order
      EXPECT_NEAR(p.gradient.f32()[at], expected["values"][i / stride].get<double>(), tolerance * largest + rounding) << p.tensor << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FullGradients,
                         ::testing::Values("llama-tied", "llama-biases", "mistral-window", "qwen2-tied", "qwen3-untied", "qwen3-tied",
                                           "gpt2_inverse_layer", "gpt2_unscaled_untied", "gpt_bigcode", "gpt_bigcode_heads", "gemma_old",
                                           "gemma_untied", "gemma2", "gemma3_capped", "phi", "phi_old", "phi3", "phi3_longrope", "starcoder2",
                                           "gpt_neox", "gpt_neox_serial_old", "granite", "olmo2", "smollm3_layers"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Beside an adapter, with other passes and threads: the same bits.
TEST(FullTraining, HasTheSameBitsAloneAndInACrowd) {
  for (const char* name : {"qwen3-tied", "llama-biases"}) {
    TinyBase base(name);
    const auto model = base.model();
    std::string alone;
    for (const auto& [threads, pass_rows] : {std::pair{1, int64_t{1024}}, std::pair{2, int64_t{1024}}, std::pair{2, int64_t{20}}}) {
      const auto t = base.trainer(model, threads, pass_rows);
      const JobSpec lora{.name = "lora", .targets = {"q_proj", "down_proj"}, .epochs = 3, .batch = 2};
      const bool crowd = threads == 2;
      if (crowd) {
        ASSERT_TRUE(t->add_job(lora, base.data(), "tiny").ok());
      }
      ASSERT_TRUE(t->add_job(base.spec(), base.data(), "tiny").ok());
      if (crowd) {
        ASSERT_TRUE(t->add_job(lora, base.data(), "tiny").ok());
      }
      run_all(*t, {});
      const std::string trained = bits(t->adapter(crowd ? 1 : 0));
      if (alone.empty()) alone = trained;
      EXPECT_TRUE(trained == alone) << name << ", " << threads << " threads, passes of " << pass_rows;
    }
  }
}

TEST(FullTraining, EveryOptimizerBringsTheLossDown) {
  for (const auto& [kind, rate] : {std::pair{OptimizerKind::kAdamW, 1e-2}, {OptimizerKind::kAdamW8bit, 1e-2}, {OptimizerKind::kSgd, 1e-1}}) {
    TinyBase base("llama-tied");
    const auto t = base.trainer(base.model());
    JobSpec spec = base.spec();
    spec.optimizer = kind;
    spec.momentum = kind == OptimizerKind::kSgd ? 0.9 : 0;
    spec.learning_rate = rate;
    spec.epochs = 60;
    ASSERT_TRUE(t->add_job(spec, base.data(), "tiny").ok());
    std::vector<double> losses;
    run_all(*t, [&](const StepReport& report) { losses.push_back(report.loss); });
    ASSERT_EQ(losses.size(), 60u);
    EXPECT_LT(losses.back(), 0.6 * losses.front()) << static_cast<int>(kind);
  }
}

// What the trainer computes with is what the written checkpoint computes: evaluation, and the file loaded again.
TEST(FullTraining, TheCheckpointIsTheModelThatWasTrained) {
  for (const char* name : {"llama-tied", "llama-biases", "qwen3-untied"}) {
    for (const char* dtype : {"f32", "bf16"}) {
      TinyBase base(name);
      const auto t = base.trainer(base.model(dtype), 2);
      ASSERT_TRUE(t->add_job(base.spec(), base.data(), "tiny").ok());
      run_all(*t, {});
      const double loss = t->evaluate(0, base.data()).loss;
      TempDir out;
      const Status written = t->adapter(0).write(out.path() / "model");
      ASSERT_TRUE(written.ok()) << written.message();
      auto again = load_model(out.path() / "model", {.choice = base.choice()});
      ASSERT_TRUE(again.ok()) << again.status().message();
      EXPECT_EQ(dtype_name((*again)->weight_dtype()), dtype);
      // The base alone under an adapter that does nothing.
      const auto frozen = base.trainer(*again);
      ASSERT_TRUE(frozen->add_job({.name = "nothing", .batch = 1}, base.data(), "tiny").ok());
      EXPECT_NEAR(frozen->evaluate(0, base.data()).loss, loss, (dtype == std::string("f32") ? 1e-6 : 5e-3) * loss) << name << " " << dtype;
    }
  }
}

TEST(FullTraining, ContinuesFromF32MastersEvenWhereTheArithmeticIs16Bit) {
  TinyBase base("llama-tied");
  const auto t = base.trainer(base.model("bf16"));
  ASSERT_TRUE(t->add_job(base.spec(), base.data(), "tiny").ok());
  for (const Parameter& p : t->adapter(0).parameters()) {
    if (p.tensor != "model.layers.1.mlp.up_proj.weight") continue;
    for (int64_t i = 0; i < p.value.elements(); ++i) {
      ASSERT_EQ(p.value.f32()[i], testing::golden_noise(static_cast<uint64_t>(i), p.tensor) * 0.25f);
    }
  }
}

TEST(FullTraining, StartsFromSeededNormalNumbersWhenAsked) {
  TinyBase base("llama-biases");
  JobSpec spec = base.spec();
  spec.full.init = FullInit::kRandom;
  std::vector<std::string> starts;
  for (const uint64_t seed : {1, 1, 2}) {
    spec.seed = seed;
    const auto t = base.trainer(base.model());
    ASSERT_TRUE(t->add_job(spec, base.data(), "tiny").ok());
    starts.push_back(bits(t->adapter(0)));
    for (const Parameter& p : t->adapter(0).parameters()) {
      double sum = 0, squares = 0;
      const auto count = static_cast<double>(p.value.elements());
      for (int64_t i = 0; i < p.value.elements(); ++i) {
        sum += p.value.f32()[i];
        squares += static_cast<double>(p.value.f32()[i]) * p.value.f32()[i];
      }
      if (p.tensor.find("norm") != std::string::npos) {
        EXPECT_EQ(sum, count) << p.tensor;
      }
      if (p.tensor.ends_with(".bias")) {
        EXPECT_EQ(squares, 0.0) << p.tensor;
      }
      if (p.tensor.ends_with("proj.weight")) {
        EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.003) << p.tensor;
      }
    }
  }
  EXPECT_TRUE(starts[0] == starts[1]);
  EXPECT_FALSE(starts[0] == starts[2]);
}

TEST(FullTraining, DecayMaySpareVectors) {
  TinyBase base("llama-biases");
  JobSpec spec = base.spec();
  spec.weight_decay = 0.1;
  for (const bool decays : {true, false}) {
    spec.full.decay_vectors = decays;
    const auto t = base.trainer(base.model());
    ASSERT_TRUE(t->add_job(spec, base.data(), "tiny").ok());
    for (const Parameter& p : t->adapter(0).parameters()) {
      const bool vector = p.tensor.find("norm") != std::string::npos || p.tensor.ends_with(".bias");
      EXPECT_EQ(p.decays, decays || !vector) << p.tensor;
    }
  }
}

TEST(FullTraining, RefusesWhatItCannotDo) {
  TinyBase base("llama-tied");
  const auto t = base.trainer(base.model());
  JobSpec spec = base.spec();
  spec.targets = {"q_proj"};
  EXPECT_EQ(t->add_job(spec, base.data(), "tiny").code(), Code::kInvalidArgument);
  spec = base.spec();
  spec.full.base_dir = base.dir() / "nowhere";
  EXPECT_FALSE(t->add_job(spec, base.data(), "tiny").ok());
  ASSERT_TRUE(t->add_job(base.spec(), base.data(), "tiny").ok());
  const Status over_the_base = t->adapter(0).write(base.dir());
  EXPECT_EQ(over_the_base.code(), Code::kFailedPrecondition) << over_the_base.message();
}

}  // namespace
}  // namespace umbel::train
