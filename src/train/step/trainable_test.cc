// What a job's adapter is before its first step: where it sits, how it starts, what its folder says; and jobs of every kind in a
// crowd on a tiny base.
#include "train/job/kind_facts.h"
#include "train/kinds/trainable.h"

#include <gtest/gtest.h>

#include <cstring>

#include "adapters/registry.h"
#include "adapters/test_support.h"
#include "models/golden_testing.h"
#include "store/peft_dir.h"
#include "train/step/trainer.h"

namespace umbel::train {
namespace {

using testing::random_tensor;
using testing::SmallBase;

Result<std::unique_ptr<TrainableAdapter>> make(const JobSpec& spec, const SmallBase& base) {
  return TrainableAdapter::create(spec, base.targets(), "small");
}

// The modules that have parameters, without "base_model.model." and the tensor's own part.
std::set<std::string> modules_of(TrainableAdapter& adapter) {
  std::set<std::string> modules;
  for (const Parameter& p : adapter.parameters()) {
    const std::string path = p.tensor.substr(std::string("base_model.model.").size());
    const size_t end = std::min({path.find(".lora_"), path.find(".ia3_"), path.find(".vera_"), path.find(".flora_")});
    modules.insert(path.substr(0, end));
  }
  return modules;
}

std::set<std::string> selected(const JobSpec& spec) {
  const SmallBase base;
  const auto made = make(spec, base);
  if (!made.ok()) ADD_FAILURE() << made.status().message();
  return made.ok() ? modules_of(**made) : std::set<std::string>();
}

TEST(Trainable, TargetsByNamePatternLayerAndAllLinear) {
  const std::string first = "model.layers.0.", second = "model.layers.1.";
  EXPECT_EQ(selected({}), (std::set<std::string>{first + "self_attn.q_proj", first + "self_attn.v_proj", second + "self_attn.q_proj",
                                                 second + "self_attn.v_proj"}));
  EXPECT_EQ(selected({.targets = {"mlp.up_proj", "lm_head"}, .layers = {}}),
            (std::set<std::string>{first + "mlp.up_proj", second + "mlp.up_proj", "lm_head"}));
  EXPECT_EQ(selected({.targets = {"up_proj"}, .layers = {1}}), (std::set<std::string>{second + "mlp.up_proj"}));
  EXPECT_EQ(selected({.target_regex = R"(.*\.0\..*(q|down)_proj)"}),
            (std::set<std::string>{first + "self_attn.q_proj", first + "mlp.down_proj"}));
  EXPECT_EQ(selected({.all_linear = true}).size(), 14u) << "seven linear layers twice; not the head";
  EXPECT_EQ(selected({.all_linear = true, .exclude = {"q_proj", "down_proj"}}).size(), 10u);
  EXPECT_EQ(selected({.targets = {"embed_tokens"}}), (std::set<std::string>{"model.embed_tokens"}));
  EXPECT_EQ(selected({.kind = TrainKind::kIa3, .layers = {0}}),
            (std::set<std::string>{first + "self_attn.k_proj", first + "self_attn.v_proj", first + "mlp.down_proj"}));
}

TEST(Trainable, RankAndAlphaFollowTheirPatterns) {
  const SmallBase base;
  const auto made = make({.rank = 4, .alpha = 8, .targets = {"q_proj", "v_proj"}, .rank_pattern = {{R"(layers\.1\..*q_proj)", 2}},
                          .alpha_pattern = {{"v_proj", 12}}}, base).value();
  const auto term = [&](const std::string& path) { return made->adapter().linear(base.targets().find("model.layers." + path))->low_rank[0]; };
  EXPECT_EQ(term("0.self_attn.q_proj").rank, 4);
  EXPECT_EQ(term("0.self_attn.q_proj").scale, 2.0f);
  EXPECT_EQ(term("1.self_attn.q_proj").rank, 2);
  EXPECT_EQ(term("1.self_attn.q_proj").scale, 4.0f);
  EXPECT_EQ(term("1.self_attn.v_proj").scale, 3.0f);
  EXPECT_EQ(made->config()["rank_pattern"].size(), 1u);
}

void expect_refused(const JobSpec& spec, Code code, const std::string& word) {
  const SmallBase base;
  const auto made = make(spec, base);
  ASSERT_FALSE(made.ok()) << word;
  EXPECT_EQ(made.status().code(), code) << made.status().message();
  EXPECT_NE(made.status().message().find(word), std::string::npos) << made.status().message();
}

TEST(Trainable, WhatMatchesNothingOrCannotBeTrainedIsNamed) {
  expect_refused({.targets = {"q_proj", "c_attn"}}, Code::kInvalidArgument, "c_attn");
  expect_refused({.targets = {"c_attn"}}, Code::kInvalidArgument, "down_proj, embed_tokens");
  expect_refused({.target_regex = "nothing"}, Code::kInvalidArgument, "match no module");
  expect_refused({.target_regex = "(unclosed"}, Code::kInvalidArgument, "target_modules");
  expect_refused({.targets = {"q_proj"}, .layers = {7}}, Code::kInvalidArgument, "match no module");
  expect_refused({.rank_pattern = {{"k_proj", 4}}}, Code::kInvalidArgument, "k_proj");
  expect_refused({.alpha_pattern = {{"k_proj", 4}}}, Code::kInvalidArgument, "k_proj");
  expect_refused({.kind = TrainKind::kVera, .targets = {"embed_tokens"}}, Code::kUnsupported, "embed_tokens");
  expect_refused({.kind = TrainKind::kDora, .targets = {"embed_tokens"}}, Code::kUnsupported, "embed_tokens");
  expect_refused({.targets = {"norm"}}, Code::kUnsupported, "norm");
  expect_refused({.kind = TrainKind::kQlora}, Code::kFailedPrecondition, "quantised");
}

TEST(Trainable, QloraGoesOverAQuantisedBase) {
  Random random(2);
  const Tensor weight = random_tensor(random, {24, 64});
  const auto packed = kernels::FrozenMatrix::quantise(weight.view(), kernels::Quantisation::kNf4, {}).value();
  TargetTable targets;
  targets.add({.path = "model.layers.0.self_attn.q_proj", .in = 64, .out = 24, .weight = &packed});
  const auto made = TrainableAdapter::create({.kind = TrainKind::kQlora, .rank = 2, .targets = {"q_proj"}}, targets, "small");
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ((*made)->config()["peft_type"], "LORA");
  EXPECT_EQ((*made)->parameters().size(), 2u);
}

// What the adapter makes of random rows at every module, against the base alone.
double distance_from_base(const JobSpec& spec, const testing::BaseOptions& options = {}) {
  const SmallBase base(options);
  const auto made = make(spec, base).value();
  double most = 0;
  for (int32_t index = 0; index < base.targets().size(); ++index) {
    const Target& target = base.targets()[index];
    if (made->adapter().linear(index) == nullptr) continue;
    Random random(3);
    const Tensor x = random_tensor(random, {5, target.in});
    const Tensor with = apply_one(base, target.path, &made->adapter(), x), without = apply_one(base, target.path, nullptr, x);
    for (int64_t i = 0; i < with.elements(); ++i) most = std::max<double>(most, std::fabs(with.f32()[i] - without.f32()[i]));
  }
  return most;
}

TEST(Trainable, EveryKindStartsAsTheBase) {
  for (const TrainKind kind : {TrainKind::kLora, TrainKind::kRsLora, TrainKind::kLoraPlus, TrainKind::kVera, TrainKind::kIa3, TrainKind::kFlora,
                               TrainKind::kFloraResidual, TrainKind::kLoha, TrainKind::kMiss}) {
    EXPECT_EQ(distance_from_base({.kind = kind, .rank = 4, .all_linear = true}, {.bias = true}), 0.0) << train_kind_name(kind);
  }
  EXPECT_LT(distance_from_base({.kind = TrainKind::kDora, .rank = 4, .all_linear = true}, {.bias = true}), 1e-6) << "m / n is 1";
  EXPECT_EQ(distance_from_base({.kind = TrainKind::kFlora, .rank = 1, .flora_init = FloraInit::kOnes}), 0.0);
  const double near = distance_from_base({.kind = TrainKind::kFlora, .rank = 4, .flora_init = FloraInit::kOnesNoise});
  EXPECT_GT(near, 0.0);
  EXPECT_LT(near, 0.2);
}

TEST(Trainable, StartsFollowTheSeedAndTheModule) {
  const SmallBase base;
  const auto first = make({.seed = 1}, base).value(), again = make({.seed = 1}, base).value(), other = make({.seed = 2}, base).value();
  const auto same = [](const Parameter& a, const Parameter& b) { return std::memcmp(a.value.data(), b.value.data(), a.value.bytes()) == 0; };
  EXPECT_TRUE(same(first->parameters()[0], again->parameters()[0]));
  EXPECT_FALSE(same(first->parameters()[0], other->parameters()[0]));
  EXPECT_FALSE(same(first->parameters()[0], first->parameters()[4])) << "q_proj of two layers";
}

TEST(Trainable, LoraPlusRaisesTheRateOfOutputSides) {
  const SmallBase base;
  const auto rates = [&](const JobSpec& spec) {
    std::set<std::pair<bool, double>> found;
    const auto made = make(spec, base).value();
    for (const Parameter& p : made->parameters()) found.insert({p.tensor.ends_with("lora_A.weight"), p.rate});
    return found;
  };
  EXPECT_EQ(rates({}), (std::set<std::pair<bool, double>>{{true, 1.0}, {false, 1.0}}));
  EXPECT_EQ(rates({.kind = TrainKind::kLoraPlus}), (std::set<std::pair<bool, double>>{{true, 1.0}, {false, 16.0}}));
  EXPECT_EQ(rates({.kind = TrainKind::kDora, .lora_plus_ratio = 4}), (std::set<std::pair<bool, double>>{{true, 1.0}, {false, 4.0}}));
}

TEST(Trainable, JobsWithOneKeyShareTheProjections) {
  const SmallBase base;
  SharedTensors shared;
  const auto with = [&](uint64_t key) {
    return TrainableAdapter::create({.kind = TrainKind::kVera, .rank = 3, .vera_projection_key = key}, base.targets(), "small", &shared).value();
  };
  const auto first = with(1), second = with(1), third = with(2);
  EXPECT_EQ(shared.size(), 4u) << "A and B for two keys";
  const auto a_of = [&](TrainableAdapter& made) { return made.adapter().linear(base.targets().find("model.layers.0.self_attn.q_proj"))->low_rank[0].a; };
  EXPECT_EQ(a_of(*first), a_of(*second));
  EXPECT_NE(a_of(*first), a_of(*third));
}

TEST(Trainable, Ia3LayersAreSpelledOutForPeft) {
  const SmallBase base;
  const auto made = make({.kind = TrainKind::kIa3, .layers = {1}}, base).value();
  EXPECT_FALSE(made->config().contains("layers_to_transform"));
  EXPECT_EQ(made->config()["target_modules"].size(), 3u);
  EXPECT_EQ(made->config()["feedforward_modules"], Json({"model.layers.1.mlp.down_proj"}));
}

TEST(Trainable, AStartIsCheckedBeforeAnythingChanges) {
  const SmallBase base;
  const auto source = make({.rank = 2, .seed = 5}, base).value(), made = make({.rank = 2, .seed = 6}, base).value();
  const Path dir = Path(::testing::TempDir()) / "trainable_start";
  std::filesystem::create_directories(dir);
  ASSERT_TRUE(source->write(dir).ok());
  const PeftDir folder = PeftDir::read(dir).value();
  auto tensors = folder.source().tensors;
  ASSERT_TRUE(made->start_from(tensors).ok());
  EXPECT_EQ(std::memcmp(made->parameters()[0].value.data(), source->parameters()[0].value.data(), made->parameters()[0].value.bytes()), 0);
  const std::string first = tensors.begin()->first;
  auto changed = tensors;
  changed[first].shape = {1, 2};
  EXPECT_NE(made->start_from(changed).message().find(first), std::string::npos);
  changed = tensors;
  changed.erase(first);
  EXPECT_NE(made->start_from(changed).message().find(first), std::string::npos);
  changed = tensors;
  changed["surplus"] = tensors[first];
  EXPECT_NE(made->start_from(changed).message().find("surplus"), std::string::npos);
}

// ---- a crowd ----------------------------------------------------------------------------------------------------------

data::Dataset some_rows(uint64_t key, size_t rows) {
  Random random(mix_key({key, 21}));
  data::Dataset data;
  for (size_t row = 0; row < rows; ++row) {
    data::Example example;
    const size_t length = 3 + random.next_below(18);
    for (size_t i = 0; i < length; ++i) example.tokens.push_back(static_cast<TokenId>(random.next_below(48)));
    example.trained.assign(length, 0);
    for (size_t i = 1 + random.next_below(length - 1); i < length; ++i) example.trained[i] = 1;
    data.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
    data.examples.push_back(std::move(example));
  }
  return data;
}

std::vector<JobSpec> crowd() {
  std::vector<JobSpec> jobs;
  const auto add = [&](JobSpec spec) {
    spec.name = "job" + std::to_string(jobs.size());
    spec.seed = jobs.size();
    spec.epochs = 2;
    spec.batch = 3 + static_cast<int64_t>(jobs.size() % 4);
    spec.learning_rate *= 1.0 + 0.3 * static_cast<double>(jobs.size());
    jobs.push_back(std::move(spec));
  };
  for (const TrainKind kind : {TrainKind::kLora, TrainKind::kDora, TrainKind::kVera, TrainKind::kIa3, TrainKind::kFlora, TrainKind::kFloraResidual,
                               TrainKind::kRsLora, TrainKind::kLoraPlus, TrainKind::kLoha, TrainKind::kMiss}) {
    add({.kind = kind, .rank = 3});
    const bool dropped = kind_facts(kind).dropout;
    add({.kind = kind, .rank = 5, .all_linear = true, .dropout = dropped ? 0.2 : 0.0});
  }
  jobs[0].targets = {"embed_tokens", "lm_head", "v_proj"};
  jobs[0].dropout = 0.4;
  jobs[4].optimizer = OptimizerKind::kSgd;
  return jobs;
}

TEST(Trainable, TwentyMixedJobsHaveTheSameBitsAloneAndTogether) {
  const kernels::Choice choice = kernels::choose({.arithmetic = "f32-fma"}).value();
  const auto model = load_model(testing::source_dir() / "tests/goldens/adapters/base_untied", {.dtype = "f32", .choice = choice}).value();
  const std::vector<JobSpec> jobs = crowd();
  std::vector<data::Dataset> data;
  for (size_t j = 0; j < jobs.size(); ++j) data.push_back(some_rows(j, 14 + j));
  const auto run = [&](size_t first, size_t count, int threads, int64_t pass_rows) {
    const auto trainer = Trainer::create(model, {.choice = choice, .threads = threads, .pass_rows_max = pass_rows}).value();
    for (size_t j = first; j < first + count; ++j) EXPECT_TRUE(trainer->add_job(jobs[j], data[j], "tiny").ok());
    run_all(*trainer, {});
    std::vector<std::string> bits(count);
    for (size_t j = 0; j < count; ++j) {
      EXPECT_TRUE(trainer->state(j).status.ok()) << trainer->state(j).status.message();
      for (const Parameter& p : trainer->adapter(j).parameters()) bits[j].append(static_cast<const char*>(p.value.data()), p.value.bytes());
    }
    return bits;
  };
  std::vector<std::string> alone;
  for (size_t j = 0; j < jobs.size(); ++j) alone.push_back(run(j, 1, 1, 1024).front());
  for (const auto& [threads, pass_rows] : {std::pair{1, int64_t{1024}}, std::pair{2, int64_t{64}}, std::pair{2, int64_t{1024}}, std::pair{3, int64_t{1024}}}) {
    const std::vector<std::string> together = run(0, jobs.size(), threads, pass_rows);
    for (size_t j = 0; j < jobs.size(); ++j) {
      EXPECT_TRUE(together[j] == alone[j]) << jobs[j].name << " (" << train_kind_name(jobs[j].kind) << "), " << threads << " threads";
    }
  }
}

TEST(Trainable, DropoutChangesTrainingAndNotEvaluation) {
  const kernels::Choice choice = kernels::choose({.arithmetic = "f32-fma"}).value();
  const auto model = load_model(testing::source_dir() / "tests/goldens/adapters/base_untied", {.dtype = "f32", .choice = choice}).value();
  const data::Dataset data = some_rows(1, 6);
  const auto trainer = Trainer::create(model, {.choice = choice}).value();
  for (const double dropout : {0.0, 0.5, 0.5}) {
    ASSERT_TRUE(trainer->add_job({.dropout = dropout, .learning_rate = 0.02, .batch = 6}, data, "tiny").ok());
  }
  for (int step = 0; step < 2; ++step) (void)trainer->step();  // the first has B = 0
  const auto third = trainer->step();
  EXPECT_NE(third[0].loss, third[1].loss);
  EXPECT_EQ(third[1].loss, third[2].loss) << "one seed, one mask";
  EXPECT_EQ(trainer->evaluate(1, data).loss, trainer->evaluate(2, data).loss);
  EXPECT_EQ(trainer->evaluate(1, data).loss, trainer->evaluate(1, data).loss);
}

// Whatever a job has learnt, and whatever its kind computes the base by, the base is the base.
TEST(Trainable, TheBaseIsLookedAtByItself) {
  const kernels::Choice choice = kernels::choose({.arithmetic = "f32-fma"}).value();
  const auto model = load_model(testing::source_dir() / "tests/goldens/adapters/base_untied", {.dtype = "f32", .choice = choice}).value();
  const data::Dataset data = some_rows(1, 6);
  const auto trainer = Trainer::create(model, {.choice = choice}).value();
  const TrainKind kinds[] = {TrainKind::kLora, TrainKind::kFlora, TrainKind::kDora, TrainKind::kIa3};
  for (const TrainKind kind : kinds) ASSERT_TRUE(trainer->add_job({.kind = kind, .rank = 2, .learning_rate = 0.02, .batch = 6}, data, "tiny").ok());
  const EvalReport base = trainer->evaluate_base(0, data), before = trainer->evaluate(0, data);
  EXPECT_EQ(base.loss, before.loss) << "LoRA begins as the base, to the bit";
  EXPECT_EQ(base.token_accuracy, before.token_accuracy);
  EXPECT_EQ(base.rows, 6);
  EXPECT_LE(base.exact_rows, base.token_accuracy);
  for (int step = 0; step < 3; ++step) (void)trainer->step();
  for (size_t job = 0; job < std::size(kinds); ++job) {
    EXPECT_EQ(trainer->evaluate_base(job, data).loss, base.loss) << train_kind_name(kinds[job]);
    EXPECT_NE(trainer->evaluate(job, data).loss, base.loss) << train_kind_name(kinds[job]);
  }
}

}  // namespace
}  // namespace umbel::train
