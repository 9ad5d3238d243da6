// Every adapter kind trained from the same adapter on the same rows as torch + PEFT did it (FLoRA: a plain torch expression):
// tests/goldens/train_kinds.*, recorded by tools/record_train_goldens.py. f32; "relative" = max |difference| / max |reference|
// of a tensor. Then: what is written is what was trained, for our own reader.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "adapters/registry.h"
#include "io/safetensors.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "store/peft_dir.h"
#include "train/step/trainer.h"

namespace umbel::train {
namespace {

constexpr int64_t kSteps = 50;

Path goldens() { return testing::source_dir() / "tests/goldens"; }

const Json& golden() {
  static const Json kGolden = read_json(goldens() / "train_kinds.json").value();
  return kGolden;
}
const Safetensors& golden_tensors() {
  static const Safetensors kTensors = Safetensors::open(goldens() / "train_kinds.safetensors").value();
  return kTensors;
}

// The tensors CASE/WHAT/* by the names of an adapter's file.
std::map<std::string, TensorView> tensors_of(const std::string& name, const std::string& what) {
  const std::string prefix = name + "/" + what + "/";
  std::map<std::string, TensorView> found;
  for (const auto& [tensor, view] : golden_tensors().tensors()) {
    if (tensor.starts_with(prefix)) found[tensor.substr(prefix.size())] = view;
  }
  return found;
}

JobSpec spec_of(const Json& item, const std::string& optimizer) {
  const Json& job = item["job"];
  JobSpec spec{.name = job["name"], .schedule = ScheduleKind::kConstant, .warmup_share = 0, .epochs = kSteps, .batch = 5};
  spec.kind = parse_train_kind(job["kind"]).value();
  spec.rank = job.value("rank", 8);
  spec.alpha = job.value("alpha", 16.0);
  spec.targets = job.value("targets", std::vector<std::string>());
  spec.target_regex = job.value("target_regex", "");
  spec.all_linear = job.value("all_linear", false);
  spec.layers = job.value("layers", std::vector<int64_t>());
  spec.rank_pattern = job.value("rank_pattern", std::map<std::string, int64_t>());
  spec.alpha_pattern = job.value("alpha_pattern", std::map<std::string, double>());
  spec.lora_plus_ratio = job.value("lora_plus_ratio", 0.0);
  spec.clip = item["clip"];
  spec.optimizer = parse_optimizer(optimizer).value();
  spec.learning_rate = item["learning_rate"][optimizer];
  return spec;
}

data::Dataset rows() {
  data::Dataset data;
  for (const Json& row : golden()["rows"]) {
    data::Example example{.tokens = row["ids"].get<std::vector<TokenId>>()};
    example.trained.assign(example.tokens.size(), 0);
    for (size_t i = row["start"]; i < example.tokens.size(); ++i) example.trained[i] = 1;
    data.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
    data.examples.push_back(std::move(example));
  }
  return data;
}

struct Difference {
  double relative = 0;  // max |difference| / max |reference|
  double norm = 0;      // || difference || / || reference ||
};

// ours in the kernels' layout, the reference in the file's.
Difference difference(const Parameter& parameter, const Tensor& ours, const TensorView& reference) {
  const Tensor file = Tensor::widened(reference);
  const int64_t rows = ours.shape()[0], cols = ours.shape()[1];
  double most = 0, largest = 0, squares = 0, reference_squares = 0;
  for (int64_t i = 0; i < rows * cols; ++i) {
    const double expected = file.f32()[parameter.transposed ? (i % cols) * rows + i / cols : i];
    const double d = ours.f32()[i] - expected;
    most = std::max(most, std::fabs(d));
    largest = std::max(largest, std::fabs(expected));
    squares += d * d;
    reference_squares += expected * expected;
  }
  return {most / largest, std::sqrt(squares / reference_squares)};
}

// The worst over all tensors of an adapter, which must be those of the golden.
Difference worst(TrainableAdapter& adapter, bool gradients, const std::map<std::string, TensorView>& expected) {
  EXPECT_EQ(adapter.parameters().size(), expected.size());
  Difference most;
  for (const Parameter& p : adapter.parameters()) {
    const auto found = expected.find(p.tensor);
    if (found == expected.end()) {
      ADD_FAILURE() << "PEFT has no " << p.tensor;
      continue;
    }
    const Difference d = difference(p, gradients ? p.gradient : p.value, found->second);
    most = {std::max(most.relative, d.relative), std::max(most.norm, d.norm)};
  }
  return most;
}

class TrainKinds : public ::testing::TestWithParam<Json> {
 protected:
  TrainKinds() : choice_(kernels::choose({.arithmetic = "f32-fma"}).value()), data_(rows()) {
    const std::string base = GetParam()["job"].value("base", "base_untied");
    model_ = load_model(goldens() / "adapters" / base, {.dtype = "f32", .choice = choice_}).value();
  }
  std::string name() const { return GetParam()["job"]["name"]; }
  // A trainer with the golden's job at its start.
  std::unique_ptr<Trainer> trainer(const std::string& optimizer) {
    auto made = Trainer::create(model_, {.choice = choice_}).value();
    const Status added = made->add_job(spec_of(GetParam(), optimizer), data_, "tiny");
    EXPECT_TRUE(added.ok()) << added.message();
    const Status started = made->adapter(0).start_from(tensors_of(name(), "start"));
    EXPECT_TRUE(started.ok()) << started.message();
    return made;
  }
  // 50 steps; the largest relative difference of a loss comes back.
  double losses(Trainer& trainer, const std::string& optimizer, Difference& first_gradients) {
    double most = 0;
    for (int64_t step = 0; step < kSteps; ++step) {
      const auto reports = trainer.step();
      if (reports.size() != 1) ADD_FAILURE() << "step " << step << ": " << trainer.state(0).status.message();
      if (reports.size() != 1) return most;
      if (step == 0) first_gradients = worst(trainer.adapter(0), true, tensors_of(name(), "gradient"));
      const double expected = GetParam()["losses"][optimizer][step];
      most = std::max(most, std::fabs(reports[0].loss - expected) / expected);
    }
    return most;
  }

  kernels::Choice choice_;
  data::Dataset data_;
  std::shared_ptr<const Model> model_;
};

TEST_P(TrainKinds, FiftyStepsAreThoseOfTorch) {
  for (const std::string optimizer : {"sgd", "adamw"}) {
    if (!GetParam()["losses"].contains(optimizer)) continue;
    SCOPED_TRACE(optimizer);
    const auto t = trainer(optimizer);
    Difference gradients;
    const double loss = losses(*t, optimizer, gradients);
    const Difference weights = worst(t->adapter(0), false, tensors_of(name(), optimizer));
    std::printf("%-15s %-6s gradients %.1e, losses %.1e, weights %.1e (norm %.1e)\n", name().c_str(), optimizer.c_str(), gradients.relative,
                loss, weights.relative, weights.norm);
    EXPECT_LT(gradients.relative, 1e-4);
    EXPECT_LT(loss, 1e-4);
    if (optimizer == "sgd") {
      EXPECT_LT(weights.relative, 1e-4);
    } else {
      EXPECT_LT(weights.norm, 1e-3);
    }
  }
}

// The written folder through the reader that serving uses: the same logits as the adapter that is being trained.
TEST_P(TrainKinds, AWrittenFolderComputesTheSame) {
  const auto t = trainer("adamw");
  for (int step = 0; step < 3; ++step) (void)t->step();
  const Path dir = Path(::testing::TempDir()) / ("kind_" + name());
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  ASSERT_TRUE(t->adapter(0).write(dir).ok());
  const PeftDir folder = PeftDir::read(dir).value();
  const auto read = build_adapter(folder.source(), model_->targets(), {});
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ((*read)->report().targets_applied, t->adapter(0).modules());
  EXPECT_TRUE((*read)->report().warnings.empty());
  testing::ForwardRunner runner(model_, choice_);
  const std::vector<int32_t> tokens = {1, 5, 9, 46, 3, 33, 5};
  const std::vector<float> trained = runner.run({tokens, &t->adapter(0).adapter()});
  const std::vector<float> served = runner.run({tokens, read->get()});
  EXPECT_EQ(trained, served);
  EXPECT_NE(trained, runner.run({tokens}));
  std::filesystem::remove_all(dir);
}

std::string case_name(const ::testing::TestParamInfo<Json>& info) { return info.param["job"]["name"]; }
INSTANTIATE_TEST_SUITE_P(Kinds, TrainKinds, ::testing::ValuesIn(golden()["cases"].get<std::vector<Json>>()), case_name);

}  // namespace
}  // namespace umbel::train
