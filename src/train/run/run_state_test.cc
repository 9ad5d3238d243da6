#include "train/run/run_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "io/test_folder.h"
#include "train/config/config_key.h"
#include "train/run/run_fields.h"

namespace umbel::train {
namespace {

RunJob made() {
  JobPlan plan;
  plan.job.name = "a";
  RunJob job(plan);
  auto data = std::make_shared<data::Dataset>();
  data->examples.push_back({.tokens = {1, 2, 3}, .trained = {0, 1, 1}});
  job.data = job.held_out = data;
  job.base_look = EvalEvent{.job = "a", .step = 0, .rows = 3, .report = {.loss = 2.0 / 3, .tokens = 7, .token_accuracy = 1.0 / 9, .exact_rows = 0.1}, .best = false, .base_loss = 2.0 / 3};
  job.last_look = EvalEvent{.job = "a", .step = 8, .rows = 3, .report = {.loss = NAN, .tokens = 7, .same_answer = 0.3}, .best = true, .base_loss = 2.0 / 3};
  job.best_step = 6;
  job.best_loss = 0.1 + 0.2;
  job.looks_since_best = 2;
  job.sweep_scores = {1.0 / 3, NAN};
  job.sweep_ties = {1.0 / 7, 0};
  job.loss_sum = 1e-300;
  job.loss_count = 3;
  job.ended = true;
  job.outcome.end = JobEnd::kFailed;
  job.outcome.status = failed_precondition("why");
  job.outcome.note = "note";
  job.outcome.start_eval = EvalReport{.loss = 0.7, .exact_rows = 1.0 / 11};
  return job;
}

JobState state_of() {
  JobState state;
  state.name = "a";
  state.step = 8;
  state.steps = 20;
  state.last_loss = 1.0 / 7;
  return state;
}

TEST(RunState, WhatIsSavedComesBackToTheLastBit) {
  const RunJob job = made();
  const Json saved = parse_json(job_to_json(job, state_of()).dump(), "state").value();
  RunJob back(job.plan);
  const auto state = restore_job(back, saved);
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(state->step, 8);
  EXPECT_EQ(state->last_loss, 1.0 / 7);
  EXPECT_TRUE(state->stopped);
  EXPECT_EQ(state->status.message(), "why");
  EXPECT_EQ(back.best_loss, 0.1 + 0.2);
  EXPECT_EQ(back.base_look->report.loss, 2.0 / 3);
  EXPECT_EQ(back.base_look->report.token_accuracy, 1.0 / 9);
  EXPECT_EQ(back.outcome.start_eval->exact_rows, 1.0 / 11);
  EXPECT_FALSE(back.outcome.base_eval.has_value());
  EXPECT_TRUE(std::isnan(back.last_look->report.loss));
  EXPECT_TRUE(std::isnan(back.sweep_scores.at(1)));
  EXPECT_EQ(job_to_json(back, *state).dump(), saved.dump());
}

TEST(RunState, EveryFieldThatIsMissingIsNamedAndNothingCrashes) {
  const RunJob job = made();
  const Json saved = job_to_json(job, state_of());
  for (const auto& [name, value] : saved.items()) {
    Json without = saved;
    without.erase(name);
    RunJob back(job.plan);
    const auto state = restore_job(back, without);
    // null stands for "not a number" or "none" where that can be.
    if (!state.ok()) {
      EXPECT_NE(state.status().message().find(name), std::string::npos) << state.status().message();
      continue;
    }
    EXPECT_TRUE(value.is_null() || value.is_number_float() || value.is_object()) << name;
  }
  for (const char* bad : {"[]", "{}", "3", "null"}) {
    RunJob back(job.plan);
    EXPECT_FALSE(restore_job(back, parse_json(bad, "state").value()).ok()) << bad;
  }
  Json beyond = saved;
  beyond["step"] = 21;
  RunJob back(job.plan);
  EXPECT_FALSE(restore_job(back, beyond).ok());
}

TEST(RunFields, AFingerprintTellsTokensAndWhatIsTrainedApart) {
  data::Dataset one, two, three, four;
  one.examples = {{.tokens = {1, 2, 3}, .trained = {0, 1, 1}}, {.tokens = {4}, .trained = {0}}};
  two.examples = {{.tokens = {1, 2, 3}, .trained = {0, 0, 1}}, {.tokens = {4}, .trained = {0}}};
  three.examples = {{.tokens = {1, 2}, .trained = {0, 1}}, {.tokens = {3, 4}, .trained = {1, 0}}};
  four.examples = one.examples;
  four.examples[0].line = 77;
  EXPECT_NE(dataset_fingerprint(one), dataset_fingerprint(two));
  EXPECT_NE(dataset_fingerprint(one), dataset_fingerprint(three));
  EXPECT_EQ(dataset_fingerprint(one), dataset_fingerprint(four));
}

TEST(RunFields, AFingerprintOfWeightsTellsNamesShapesAndAnyTrainedTensorApart) {
  const TestFolder folder;
  const auto fingerprint = [&](const std::string& name, Shape shape, float first, float last) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)), 0.5f);
    values.front() = first;
    values.back() = last;
    EXPECT_TRUE(write_safetensors(folder / "model.safetensors", {{name, TensorView{DType::kF32, std::move(shape), values.data()}}}).ok());
    return weights_fingerprint(Safetensors::open_model(folder.path()).value());
  };
  for (const int64_t rows : {3, 3000}) {
    const std::string one = fingerprint("a", {rows, 8}, 1, 2);
    EXPECT_EQ(fingerprint("a", {rows, 8}, 1, 2), one);
    EXPECT_NE(fingerprint("b", {rows, 8}, 1, 2), one);
    EXPECT_NE(fingerprint("a", {8, rows}, 1, 2), one);
    EXPECT_NE(fingerprint("a", {rows, 8}, 3, 2), one);
    EXPECT_NE(fingerprint("a", {rows, 8}, 1, 3), one);
  }
}

void change(FieldSlot slot) {
  if (auto* text = std::get_if<std::string*>(&slot)) **text += "x";
  if (auto* path = std::get_if<PathSlot>(&slot)) *path->text += "x";
  if (auto* choice = std::get_if<ChoiceSlot>(&slot)) EXPECT_TRUE(choice->set(choice->get() == choice->names.back() ? choice->names.front() : choice->names.back()).ok());
  if (auto* number = std::get_if<int64_t*>(&slot)) **number += 1;
  if (auto* number = std::get_if<uint64_t*>(&slot)) **number += 1;
  if (auto* number = std::get_if<double*>(&slot)) **number += 0.25;
  if (auto* flag = std::get_if<bool*>(&slot)) **flag = !**flag;
  if (auto* list = std::get_if<std::vector<std::string>*>(&slot)) (*list)->push_back("x");
  if (auto* list = std::get_if<std::vector<int64_t>*>(&slot)) (*list)->push_back(1);
  if (auto* map = std::get_if<std::map<std::string, int64_t>*>(&slot)) (**map)["x"] = 1;
  if (auto* map = std::get_if<std::map<std::string, double>*>(&slot)) (**map)["x"] = 1;
}

// A key that a resume does not compare could be changed between checkpoint and resume without a word.
TEST(RunFields, EveryKeyOfAJobIsComparedButForPlacesAndPauses) {
  const Json before = job_fields(JobPlan());
  std::set<std::string> quiet;
  for (const ConfigKey& key : config_key_table()) {
    if (key.section != ConfigSection::kJob) continue;
    if ((key.use & ConfigKey::kResult) == 0) {
      quiet.insert(key.name);
      continue;
    }
    ConfigValues values;
    change(key.slot(values));
    const Status same = same_fields("a", before, job_fields(values.job));
    EXPECT_NE(same.message().find("a: " + std::string(key.name) + " was "), std::string::npos) << key.name << ": " << same.message();
  }
  EXPECT_EQ(quiet, (std::set<std::string>{"checkpoint_every", "data", "eval_data", "out"})) << "rows have fingerprints of their own";
}

}  // namespace
}  // namespace umbel::train
