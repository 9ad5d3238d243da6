// Training against torch + PEFT (tests/goldens/train.json, recorded by tools/record_train_goldens.py), and what a job owes to
// nobody: the same bits alone, in a crowd, with other pass sizes and thread counts.
#include "train/job/kind_facts.h"
#include "train/step/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "io/safetensors.h"

namespace umbel::train {
namespace {

Path source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

JobSpec spec_of(const std::string& adapter) {
  const std::vector<std::string> all = default_targets(TrainKind::kFlora);
  JobSpec spec{.name = adapter, .learning_rate = 1e-3, .schedule = ScheduleKind::kConstant, .warmup_share = 0, .clip = 0,
               .epochs = 10, .batch = 6};
  if (adapter == "banking77-lora-r8") return spec;
  spec.targets = all;
  if (adapter == "e2e_nlg-rslora-r16") {
    spec.kind = TrainKind::kRsLora;
    spec.rank = 16;
  } else if (adapter == "clinc150-ia3") {
    spec.kind = TrainKind::kIa3;
    spec.targets = {};
  } else {
    spec.kind = TrainKind::kFlora;
    spec.rank = adapter == "restaurant8k-flora-r4" ? 4 : 1;
  }
  return spec;
}

data::Dataset data_of(const Json& rows) {
  data::Dataset data;
  for (const Json& row : rows) {
    data::Example example{.tokens = row["ids"].get<std::vector<TokenId>>()};
    example.trained.assign(example.tokens.size(), 0);
    for (size_t i = row["start"]; i < example.tokens.size(); ++i) example.trained[i] = 1;
    data.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
    data.examples.push_back(std::move(example));
  }
  return data;
}

// Masters from the committed adapter.
void start_from(TrainableAdapter& adapter, const std::string& name) {
  auto file = Safetensors::open(source_dir() / "tests/goldens/peft_adapters" / name / "adapter_model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message();
  for (Parameter& parameter : adapter.parameters()) {
    const TensorView* view = file->find(parameter.tensor);
    ASSERT_NE(view, nullptr) << parameter.tensor;
    const Tensor values = Tensor::widened(*view);
    const int64_t rows = parameter.value.shape()[0], cols = parameter.value.shape()[1];
    ASSERT_EQ(values.elements(), rows * cols);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t col = 0; col < cols; ++col) {
        parameter.value.f32()[row * cols + col] = values.f32()[parameter.transposed ? col * rows + row : row * cols + col];
      }
    }
  }
  adapter.materialize();
}

struct Golden {
  std::string adapter;
  data::Dataset data;
  Json json;
};

class TrainerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    choice_ = new kernels::Choice(kernels::choose({.arithmetic = "f32-fma"}).value());
    model_ = new std::shared_ptr<const Model>(load_model(source_dir() / "assets/seedling", {.dtype = "f32", .choice = *choice_}).value());
    goldens_ = new std::vector<Golden>();
    const Json json = read_json(source_dir() / "tests/goldens/train.json").value();
    for (const Json& c : json["cases"]) goldens_->push_back({c["adapter"], data_of(c["rows"]), c});
  }
  static void TearDownTestSuite() {
    delete goldens_;
    delete model_;
    delete choice_;
  }

  static std::unique_ptr<Trainer> trainer(int threads = 1, int64_t pass_rows = 1024, Keep keep = Keep::kAll) {
    return Trainer::create(*model_, {.choice = *choice_, .threads = threads, .pass_rows_max = pass_rows, .keep = keep}).value();
  }
  static void add(Trainer& trainer, size_t index, const Golden& golden, int64_t epochs = 10) {
    JobSpec spec = spec_of(golden.adapter);
    spec.epochs = epochs;
    ASSERT_TRUE(trainer.add_job(spec, golden.data, "seedling").ok());
    start_from(trainer.adapter(index), golden.adapter);
  }
  // All masters, as bytes.
  static std::string bits(TrainableAdapter& adapter) {
    std::string all;
    for (const Parameter& p : adapter.parameters()) all.append(static_cast<const char*>(p.value.data()), p.value.bytes());
    return all;
  }

  static kernels::Choice* choice_;
  static std::shared_ptr<const Model>* model_;
  static std::vector<Golden>* goldens_;
};
kernels::Choice* TrainerTest::choice_ = nullptr;
std::shared_ptr<const Model>* TrainerTest::model_ = nullptr;
std::vector<Golden>* TrainerTest::goldens_ = nullptr;

void expect_gradient(const Parameter& parameter, const Json& expected) {
  const int64_t rows = parameter.value.shape()[0], cols = parameter.value.shape()[1];
  const double largest = expected["largest"];
  double squares = 0;
  for (int64_t i = 0; i < rows * cols; ++i) squares += static_cast<double>(parameter.gradient.f32()[i]) * parameter.gradient.f32()[i];
  EXPECT_NEAR(std::sqrt(squares), expected["norm"].get<double>(), 1e-4 * expected["norm"].get<double>()) << parameter.tensor;
  for (int64_t i = 0; i < static_cast<int64_t>(expected["first"].size()); ++i) {
    const int64_t at = parameter.transposed ? (i % rows) * cols + i / rows : i;  // file order to ours
    EXPECT_NEAR(parameter.gradient.f32()[at], expected["first"][i].get<double>(), 1e-4 * largest) << parameter.tensor << " " << i;
  }
}

TEST_F(TrainerTest, FirstGradientsAndTenAdamWStepsAreTorchs) {
  for (const Golden& golden : *goldens_) {
    SCOPED_TRACE(golden.adapter);
    const auto t = trainer();
    add(*t, 0, golden);
    std::vector<double> losses;
    int compared = 0;
    run_all(*t, [&](const StepReport& report) {
      losses.push_back(report.loss);
      if (report.step != 1) return;
      for (const Parameter& parameter : t->adapter(0).parameters()) {
        if (!golden.json["gradients"].contains(parameter.tensor)) continue;
        expect_gradient(parameter, golden.json["gradients"][parameter.tensor]);
        ++compared;
      }
    });
    ASSERT_TRUE(t->state(0).status.ok()) << t->state(0).status.message();
    EXPECT_EQ(compared, static_cast<int>(golden.json["gradients"].size()));
    ASSERT_EQ(losses.size(), golden.json["losses"].size());
    EXPECT_NEAR(losses[0], golden.json["losses"][0].get<double>(), 1e-4 * losses[0]);
    for (size_t i = 1; i < losses.size(); ++i) {
      const double expected = golden.json["losses"][i];
      EXPECT_NEAR(losses[i], expected, 5e-3 * expected + 1e-5) << "step " << i;
    }
  }
}

TEST_F(TrainerTest, AJobHasTheSameBitsAloneAndInACrowd) {
  std::vector<std::string> alone;
  for (const Golden& golden : *goldens_) {
    const auto t = trainer();
    add(*t, 0, golden, /*epochs=*/2);
    run_all(*t, {});
    alone.push_back(bits(t->adapter(0)));
  }
  for (const auto& [threads, pass_rows] : {std::pair{1, int64_t{1024}}, std::pair{2, int64_t{1024}}, std::pair{2, int64_t{150}}}) {
    const auto crowd = trainer(threads, pass_rows);
    for (size_t i = 0; i < goldens_->size(); ++i) add(*crowd, i, (*goldens_)[i], /*epochs=*/2);
    run_all(*crowd, {});
    for (size_t i = 0; i < goldens_->size(); ++i) {
      EXPECT_TRUE(bits(crowd->adapter(i)) == alone[i]) << (*goldens_)[i].adapter << ", " << threads << " threads, passes of " << pass_rows;
    }
  }
}

TEST_F(TrainerTest, ActivationsComputedAgainGiveTheSameBitsInLessMemory) {
  for (const Golden& golden : *goldens_) {
    std::vector<std::string> results;
    std::vector<size_t> bytes;
    for (const Keep keep : {Keep::kAll, Keep::kLayerInputs}) {
      const auto t = trainer(2, 1024, keep);
      add(*t, 0, golden, /*epochs=*/2);
      run_all(*t, {});
      results.push_back(bits(t->adapter(0)));
      bytes.push_back(t->plan().activations);
    }
    EXPECT_TRUE(results[0] == results[1]) << golden.adapter;
    EXPECT_LT(bytes[1], bytes[0] / 3);
  }
}

TEST_F(TrainerTest, EvaluationIsTheLossBeforeTheFirstStepAndChangesNothing) {
  const Golden& golden = goldens_->at(2);
  const auto t = trainer();
  add(*t, 0, golden, /*epochs=*/1);
  const std::string before = bits(t->adapter(0));
  const double evaluated = t->evaluate(0, golden.data).loss;
  EXPECT_TRUE(bits(t->adapter(0)) == before);
  double trained = 0;
  run_all(*t, [&](const StepReport& report) { trained = report.loss; });
  EXPECT_NEAR(evaluated, trained, 1e-6 * trained);
  EXPECT_FALSE(bits(t->adapter(0)) == before);
}

TEST_F(TrainerTest, EvaluationTellsWhatTheAnswersLookLike) {
  // The committed adapter answers its own rows; three copies of one row and another one tell the shares apart.
  const Golden& golden = goldens_->at(0);
  data::Dataset rows;
  for (const size_t i : {0u, 0u, 0u, 1u}) rows.examples.push_back(golden.data.examples[i]);
  const auto t = trainer();
  add(*t, 0, golden);
  const EvalReport report = t->evaluate(0, rows);
  int64_t tokens = 0;
  for (const data::Example& example : rows.examples) tokens += std::count(example.trained.begin(), example.trained.end(), 1);
  EXPECT_EQ(report.tokens, tokens);
  EXPECT_DOUBLE_EQ(report.same_reference, 0.75);
  EXPECT_DOUBLE_EQ(report.same_answer, 0.75);
  double exact = 0;
  for (const size_t i : {0u, 0u, 0u, 1u}) {
    data::Dataset one;
    one.examples.push_back(golden.data.examples[i]);
    exact += t->evaluate(0, one).exact_rows / 4;
  }
  EXPECT_DOUBLE_EQ(report.exact_rows, exact);
}

TEST_F(TrainerTest, AStoppedJobTakesNoMoreStepsAndDoesNotDisturbTheOthers) {
  const auto alone = trainer();
  add(*alone, 0, goldens_->at(1), /*epochs=*/3);
  run_all(*alone, {});
  const auto t = trainer();
  add(*t, 0, goldens_->at(0), /*epochs=*/3);
  add(*t, 1, goldens_->at(1), /*epochs=*/3);
  ASSERT_EQ(t->step().size(), 2u);
  t->stop(0, failed_precondition("not wanted any more"));
  const std::string kept = bits(t->adapter(0));
  for (auto reports = t->step(); !reports.empty(); reports = t->step()) {
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_EQ(reports[0].index, 1u);
  }
  EXPECT_EQ(t->state(0).step, 1);
  EXPECT_EQ(t->state(0).status.message(), "not wanted any more");
  EXPECT_TRUE(bits(t->adapter(0)) == kept);
  EXPECT_TRUE(bits(t->adapter(1)) == bits(alone->adapter(0)));
}

TEST_F(TrainerTest, AJobGoesOnFromItsParametersAndItsStep) {
  const Golden& golden = goldens_->at(2);
  const auto whole = trainer();
  add(*whole, 0, golden, /*epochs=*/4);
  run_all(*whole, {});
  const auto first = trainer();
  add(*first, 0, golden, /*epochs=*/4);
  (void)first->step();
  (void)first->step();
  const auto second = trainer(2, 150);
  add(*second, 0, golden, /*epochs=*/4);
  auto& from = first->adapter(0).parameters();
  auto& to = second->adapter(0).parameters();
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < from.size(); ++i) {
    std::memcpy(to[i].value.data(), from[i].value.data(), from[i].value.bytes());
    ASSERT_EQ(from[i].state.size(), to[i].state.size());
    for (size_t s = 0; s < from[i].state.size(); ++s) {
      std::memcpy(to[i].state[s].tensor.data(), from[i].state[s].tensor.data(), from[i].state[s].tensor.bytes());
    }
  }
  second->resume(0, first->state(0));
  run_all(*second, {});
  EXPECT_EQ(second->state(0).step, whole->state(0).step);
  EXPECT_TRUE(bits(second->adapter(0)) == bits(whole->adapter(0)));
}

TEST_F(TrainerTest, ThePlanIsKnownBeforeTheFirstStepAndDoesNotChange) {
  const auto t = trainer(1, 64);
  const size_t weights = t->plan().weights;
  EXPECT_EQ(weights, (*model_)->weight_bytes());
  add(*t, 0, goldens_->at(0), /*epochs=*/1);
  const MemoryPlan one = t->plan();
  EXPECT_GE(one.adapters, static_cast<size_t>(t->adapter(0).trained_values()) * 4 * sizeof(float));
  add(*t, 1, goldens_->at(1), /*epochs=*/1);
  const MemoryPlan two = t->plan();
  EXPECT_GT(two.adapters, one.adapters);
  (void)t->step();
  EXPECT_EQ(t->plan().beyond_weights(), two.beyond_weights());
}

TEST_F(TrainerTest, ARateThatBlowsUpStopsTheJobAndSaysSo) {
  const Golden& golden = goldens_->at(3);
  const auto t = trainer();
  JobSpec spec = spec_of(golden.adapter);
  spec.learning_rate = 1e30;
  ASSERT_TRUE(t->add_job(spec, golden.data, "seedling").ok());
  run_all(*t, {});
  EXPECT_FALSE(t->state(0).status.ok());
  EXPECT_NE(t->state(0).status.message().find("learning rate"), std::string::npos);
}

TEST_F(TrainerTest, AWrittenAdapterIsReadBackByItsKind) {
  const Golden& golden = goldens_->at(3);
  const auto t = trainer();
  add(*t, 0, golden);
  const Path dir = Path(testing::TempDir()) / "trained";
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  ASSERT_TRUE(t->adapter(0).write(dir).ok());
  auto original = Safetensors::open(source_dir() / "tests/goldens/peft_adapters" / golden.adapter / "adapter_model.safetensors");
  auto written = Safetensors::open(dir / "adapter_model.safetensors");
  ASSERT_TRUE(written.ok());
  ASSERT_EQ(written->tensors().size(), original->tensors().size());
  for (const auto& [name, view] : written->tensors()) {
    const Tensor expected = Tensor::widened(*original->find(name));
    EXPECT_EQ(view.shape, expected.shape()) << name;
    EXPECT_EQ(std::memcmp(view.data, expected.data(), expected.bytes()), 0) << name;
  }
}

TEST_F(TrainerTest, ImpossibleJobsAreRefusedBeforeAnyCompute) {
  const data::Dataset& data = goldens_->at(0).data;
  const auto t = trainer();
  for (const JobSpec& spec : {JobSpec{.rank = 0}, JobSpec{.targets = {"c_attn"}}, JobSpec{.learning_rate = -1}, JobSpec{.epochs = 0},
                              JobSpec{.kind = TrainKind::kFlora, .weight_decay = 0.1}}) {
    EXPECT_EQ(t->add_job(spec, data, "seedling").code(), Code::kInvalidArgument);
  }
  EXPECT_FALSE(t->add_job(JobSpec{}, data::Dataset{}, "seedling").ok());
}

}  // namespace
}  // namespace umbel::train
