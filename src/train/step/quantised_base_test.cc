// Training over a quantised base: bit by bit what training over the f32 base of its read-back weights gives (so dX comes
// straight and rightly from the packed form), and the same bits alone and in a crowd.
#include <gtest/gtest.h>

#include <deque>

#include "io/safetensors.h"
#include "models/golden_testing.h"
#include "train/job/kind_facts.h"
#include "train/step/trainer.h"

namespace umbel::train {
namespace {

constexpr int kLayers = 2;

// The first layers of seedling, as f32.
class QuantisedBase : public ::testing::Test {
 protected:
  QuantisedBase() {
    const Path dir = testing::source_dir() / "assets/seedling";
    config_ = read_json(dir / "config.json").value();
    config_["dtype"] = "float32";
    config_["num_hidden_layers"] = kLayers;
    const auto files = Safetensors::open_model(dir);
    for (const auto& [name, view] : files->tensors()) {
      const size_t layer = name.find("layers.");
      if (layer == std::string::npos || std::stoi(name.substr(layer + 7)) < kLayers) tensors_.emplace(name, Tensor::widened(view));
    }
  }

  std::shared_ptr<const Model> load(const std::string& dtype) {
    testing::write_checkpoint(dir_.path(), config_, tensors_);
    return load_model(dir_.path(), {.dtype = dtype, .choice = choice_}).value();
  }
  std::shared_ptr<const Model> widened(const Model& quantised) {
    for (const Target& target : quantised.targets().targets()) {
      if (target.kind != TargetKind::kLinear) continue;
      float* values = tensors_.at(target.path + ".weight").f32();
      for (int64_t row = 0; row < target.out; ++row) target.weight->read_row(row, values + row * target.in);
    }
    return load("f32");
  }
  // The masters of all jobs after training, as bytes.
  std::vector<std::string> train(const std::shared_ptr<const Model>& model, const std::vector<JobSpec>& jobs, int threads) {
    const auto trainer = Trainer::create(model, {.choice = choice_, .threads = threads, .pass_rows_max = 160}).value();
    std::deque<data::Dataset> sets;
    for (const JobSpec& job : jobs) {
      const Status added = trainer->add_job(job, sets.emplace_back(data(static_cast<int>(job.rank))), "seedling");
      EXPECT_TRUE(added.ok()) << added.message();
    }
    run_all(*trainer, {});
    for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(trainer->state(i).step, 4) << trainer->state(i).status.message();
    std::vector<std::string> all(jobs.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
      for (const Parameter& p : trainer->adapter(i).parameters()) all[i].append(static_cast<const char*>(p.value.data()), p.value.bytes());
    }
    return all;
  }
  static data::Dataset data(int seed) {
    data::Dataset data;
    for (int row = 0; row < 8; ++row) {
      data::Example example;
      for (int i = 0; i < 9 + 5 * row; ++i) example.tokens.push_back(static_cast<TokenId>(3 + (seed * 131 + row * 977 + i * i * 37) % 4000));
      example.trained.assign(example.tokens.size(), 1);
      example.trained[0] = 0;
      data.trained_tokens += static_cast<int64_t>(example.tokens.size()) - 1;
      data.examples.push_back(std::move(example));
    }
    return data;
  }
  static std::vector<JobSpec> jobs() {
    const std::vector<std::string> all = default_targets(TrainKind::kFlora);
    const auto job = [&](const std::string& name, TrainKind kind, int rank) {
      return JobSpec{.name = name, .kind = kind, .rank = rank, .targets = all, .learning_rate = 1e-2, .epochs = 2, .batch = 4};
    };
    return {job("lora", TrainKind::kLora, 4), job("qlora", TrainKind::kQlora, 3), job("flora", TrainKind::kFlora, 2)};
  }

  kernels::Choice choice_ = kernels::choose({.arithmetic = "f32-fma"}).value();
  testing::TempDir dir_;
  Json config_;
  std::map<std::string, Tensor> tensors_;
};

TEST_F(QuantisedBase, TrainsAsTheF32BaseOfItsReadBackWeights) {
  const std::vector<JobSpec> all = jobs();
  const std::vector<JobSpec> plain = {all[0], all[2]};  // qlora wants a quantised base
  std::map<std::string, Tensor> original;
  for (const auto& [name, tensor] : tensors_) original.emplace(name, Tensor::widened(tensor.view()));
  for (const char* form : {"int8", "nf4", "nf4-dq"}) {
    for (auto& [name, tensor] : tensors_) tensor = Tensor::widened(original.at(name).view());
    const auto base = load(form);
    const std::vector<std::string> quantised = train(base, plain, 2);
    EXPECT_TRUE(quantised == train(widened(*base), plain, 2)) << form;
  }
}

TEST_F(QuantisedBase, AJobHasTheSameBitsAloneAndInACrowd) {
  for (const char* form : {"int8", "nf4", "nf4-dq"}) {
    const auto base = load(form);
    const std::vector<JobSpec> all = jobs();
    const std::vector<std::string> crowd = train(base, all, 2);
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(train(base, {all[i]}, 1)[0] == crowd[i]) << form << " " << all[i].name;
  }
}

}  // namespace
}  // namespace umbel::train
