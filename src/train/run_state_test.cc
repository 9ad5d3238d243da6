#include "train/run_state.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/test_folder.h"
#include "train/run_fields.h"

namespace umbel {
namespace {

RunJob made() {
  JobPlan plan;
  plan.job.name = "a";
  RunJob job(plan);
  auto data = std::make_shared<Dataset>();
  data->examples.push_back({.tokens = {1, 2, 3}, .trained = {0, 1, 1}});
  job.data = job.held_out = data;
  job.base_look = EvalEvent{.job = "a", .step = 0, .rows = 3, .report = {.loss = 2.0 / 3, .tokens = 7, .exact_rows = 0.1}, .best = false, .base_loss = 2.0 / 3};
  job.last_look = EvalEvent{.job = "a", .step = 8, .rows = 3, .report = {.loss = NAN, .tokens = 7, .same_answer = 0.3}, .best = true, .base_loss = 2.0 / 3};
  job.best_step = 6;
  job.best_loss = 0.1 + 0.2;
  job.looks_since_best = 2;
  job.sweep_scores = {1.0 / 3, NAN};
  job.loss_sum = 1e-300;
  job.loss_count = 3;
  job.ended = true;
  job.outcome.end = JobEnd::kFailed;
  job.outcome.status = failed_precondition("why");
  job.outcome.note = "note";
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
  Dataset one, two, three, four;
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

// A field that job_fields() doesn't know could be changed between checkpoint and resume without a word. Whoever changes this number has
// added the new field there (or said here why the adapter doesn't depend on it).
TEST(RunFields, KnowEveryFieldOfAJob) {
  EXPECT_EQ(job_fields(JobPlan()).size(), 48u);
  EXPECT_EQ(sizeof(JobSpec), kJobSpecBytes) << "JobSpec has changed: add the field to run_fields.cc, then this size";
}

}  // namespace
}  // namespace umbel
