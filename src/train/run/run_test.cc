// The life of a run, over a scripted trainer (run_testing.h): what is computed is not the question here.
#include "train/run/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "io/safetensors.h"
#include "store/peft_dir.h"
#include "train/report/tensorboard.h"
#include "train/report/tensorboard_testing.h"
#include "train/run/run_testing.h"

namespace umbel::train {
namespace {

class TrainRunTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    choice_ = new kernels::Choice(kernels::choose({.arithmetic = "f32-fma"}).value());
    model_ = new std::shared_ptr<const Model>(load_model(test_source_dir() / "assets/seedling", {.dtype = "f32", .choice = *choice_}).value());
    tokenizer_ = new std::shared_ptr<const Tokenizer>(Tokenizer::load(test_source_dir() / "assets/seedling").value());
  }
  static void TearDownTestSuite() {
    delete tokenizer_;
    delete model_;
    delete choice_;
  }
  void SetUp() override { write_rows(folder_ / "rows.jsonl", 20); }

  RunServices services(bool resume = false) const {
    RunServices services{.model = *model_, .tokenizer = *tokenizer_, .base_name = "seedling", .choice = *choice_, .resume = resume,
                         .version = "test", .command = "umbel train `x`"};
    services.make_trainer = [this](std::shared_ptr<const Model> model, const TrainOptions&) -> Result<std::unique_ptr<Trainer>> {
      return std::unique_ptr<Trainer>(std::make_unique<ScriptedTrainer>(std::move(model), script_));
    };
    return services;
  }
  Result<std::vector<JobOutcome>> go(const RunSpec& spec, bool resume = false) {
    witness_ = Witness();
    return go_on(spec, resume);
  }
  Result<std::vector<JobOutcome>> go_on(const RunSpec& spec, bool resume) {
    ASSIGN_OR_RETURN(auto run, TrainRun::create(spec, services(resume)));
    return run->run(witness_);
  }
  std::string refusal(const RunSpec& spec, bool resume = false) const {
    const auto run = TrainRun::create(spec, services(resume));
    return run.ok() ? "accepted" : run.status().message();
  }
  // 20 rows in batches of 4: 5 steps an epoch, 25 in all; the last 8 rows held out: 3 an epoch, 15 in all.
  JobPlan looked_at(const std::string& name) const {
    JobPlan plan = small_job(folder_.path(), name);
    plan.eval_rows = 8;
    return plan;
  }

  static kernels::Choice* choice_;
  static std::shared_ptr<const Model>* model_;
  static std::shared_ptr<const Tokenizer>* tokenizer_;
  TestFolder folder_;
  Script script_;
  Witness witness_;
};
kernels::Choice* TrainRunTest::choice_ = nullptr;
std::shared_ptr<const Model>* TrainRunTest::model_ = nullptr;
std::shared_ptr<const Tokenizer>* TrainRunTest::tokenizer_ = nullptr;

TEST_F(TrainRunTest, EveryEndOfAJobHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const JobEnd end : {JobEnd::kFinished, JobEnd::kStoppedEarly, JobEnd::kLostSweep, JobEnd::kFailed}) names.insert(job_end_name(end));
  EXPECT_EQ(names.size(), 4u);
  EXPECT_EQ(names.count(""), 0u);
}

TEST_F(TrainRunTest, AJobEndsAsAFolderThatIsAnAdapter) {
  const RunSpec spec = small_run(folder_.path(), {looked_at("mine"), small_job(folder_.path(), "blind", 2)});
  const auto outcomes = go(spec);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  ASSERT_EQ(outcomes->size(), 2u);
  const JobOutcome& mine = outcomes->at(0);
  EXPECT_EQ(mine.end, JobEnd::kFinished);
  EXPECT_TRUE(mine.status.ok() && mine.written);
  EXPECT_EQ(mine.step, 15);
  EXPECT_EQ(mine.written_step, 15);
  EXPECT_DOUBLE_EQ(mine.base_eval->loss, 2.5);
  EXPECT_DOUBLE_EQ(mine.eval->loss, 2.5 / 1.75);
  EXPECT_FALSE(outcomes->at(1).eval.has_value());
  for (const char* name : {"mine", "blind"}) {
    EXPECT_TRUE(PeftDir::read(folder_ / "adapters" / name).ok()) << name;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "adapters" / name / ".incoming"));
  }
  const std::string card = read_file(folder_ / "adapters/mine/README.md").value();
  for (const char* words : {"---\nbase_model: \"seedling\"\nlibrary_name: peft\n", "| rank | 1 |", "| base | 2.5 | 0.5 | 0 |", "8 rows held out", "    umbel train `x`"}) {
    EXPECT_NE(card.find(words), std::string::npos) << words << "\n" << card;
  }
  EXPECT_EQ(witness_.steps.size(), 15u + 10u);
  EXPECT_EQ(witness_.evals.size(), 6u);  // the base, and five epochs
  EXPECT_EQ(witness_.ends.size(), 2u);
}

TEST_F(TrainRunTest, AJobGoesOnFromAnAdapterOfItsKindAndShape) {
  ASSERT_TRUE(go(small_run(folder_.path(), {small_job(folder_.path(), "first", 2)})).ok());
  JobPlan next = small_job(folder_.path(), "next", 1);
  next.start_from = (folder_ / "adapters/first").string();
  RunSpec spec = small_run(folder_.path(), {next});
  spec.out = folder_ / "next_run";
  const auto run = TrainRun::create(spec, services());
  ASSERT_TRUE(run.ok()) << run.status().message();
  const auto file = Safetensors::open(folder_ / "adapters/first/adapter_model.safetensors").value();
  size_t different = 0;
  for (const Parameter& p : (*run)->trainer().adapter(0).parameters()) {
    const Tensor there = Tensor::widened(file.tensors().at(p.tensor));
    const int64_t rows = p.value.shape()[0], cols = p.value.shape()[1];
    for (int64_t i = 0; i < rows * cols; ++i) different += p.value.f32()[i] != there.f32()[p.transposed ? i % cols * rows + i / cols : i];
  }
  EXPECT_EQ(different, 0u);

  spec.jobs[0].job.rank = 2;
  EXPECT_THAT(refusal(spec), testing::HasSubstr("r is 1 there and 2 in this job"));
  spec.jobs[0].job = {.name = "next", .kind = TrainKind::kIa3};
  EXPECT_THAT(refusal(spec), testing::HasSubstr("peft_type is \"LORA\" there and \"IA3\""));
  spec.jobs[0].job = {.name = "next", .rank = 1, .targets = {"v_proj"}};
  EXPECT_THAT(refusal(spec), testing::HasSubstr("has no tensor base_model.model.model.layers.0.self_attn.v_proj"));
}

TEST_F(TrainRunTest, TheBestAdapterIsTheOneThatIsWritten) {
  script_.eval = [](const std::string&, int64_t step) { return EvalReport{.loss = 2.0 + 0.1 * std::abs(static_cast<double>(step) - 6), .tokens = 10}; };
  JobPlan best = looked_at("best"), last = looked_at("last"), six = looked_at("six");
  last.life.keep_best = false;
  last.life.worse_than_base_fails = false;
  six.job.epochs = 2;  // 6 steps, then over: what "best" must be equal to
  const auto outcomes = go(small_run(folder_.path(), {best, last, six}));
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  EXPECT_EQ(outcomes->at(0).written_step, 6);
  EXPECT_DOUBLE_EQ(outcomes->at(0).eval->loss, 2.0);
  EXPECT_EQ(outcomes->at(1).written_step, 15);
  const auto files = adapter_bytes(folder_.path());
  EXPECT_TRUE(files.at("adapters/best/adapter_model.safetensors") == files.at("adapters/six/adapter_model.safetensors"));
  EXPECT_FALSE(files.at("adapters/best/adapter_model.safetensors") == files.at("adapters/last/adapter_model.safetensors"));
}

TEST_F(TrainRunTest, PatienceEndsAJobEarlyAndItsBestIsKept) {
  script_.eval = [](const std::string&, int64_t step) { return EvalReport{.loss = step == 4 ? 1.0 : step == 0 ? 2.0 : 1.5, .tokens = 10}; };
  JobPlan plan = looked_at("early");
  plan.life.eval_every = 2;
  plan.life.patience = 3;
  const auto outcomes = go(small_run(folder_.path(), {plan}));
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  EXPECT_EQ(outcomes->at(0).end, JobEnd::kStoppedEarly);
  EXPECT_EQ(outcomes->at(0).step, 10);
  EXPECT_EQ(outcomes->at(0).written_step, 4);
  EXPECT_TRUE(outcomes->at(0).status.ok());
  EXPECT_NE(outcomes->at(0).note.find("3 evaluations"), std::string::npos);
}

TEST_F(TrainRunTest, AFailedJobStopsAndTheOthersGoOn) {
  script_.loss = [](const std::string& job, int64_t step) { return job == "spike" && step > 12 ? 40.0 : job == "nan" && step > 3 ? NAN : 3.0; };
  script_.norm = [](const std::string& job, int64_t) { return job == "still" ? 0.0 : 1.0; };
  script_.eval = [](const std::string& job, int64_t step) {
    return EvalReport{.loss = job == "worse" && step > 0 ? 9.0 : 2.0 - 0.01 * static_cast<double>(step), .tokens = 10,
                      .same_answer = job == "collapsed" ? 1.0 : 0.2, .same_reference = 0.2};
  };
  std::vector<JobPlan> plans;
  for (const char* name : {"good", "spike", "nan", "still"}) plans.push_back(small_job(folder_.path(), name));
  for (const char* name : {"worse", "collapsed", "fine"}) plans.push_back(looked_at(name));
  const auto outcomes = go(small_run(folder_.path(), plans));
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  const std::map<std::string, std::string> reasons{{"spike", "jumped"}, {"nan", "not a number"}, {"still", "exactly 0"}, {"worse", "worse than the base"}, {"collapsed", "collapsed"}};
  for (const JobOutcome& outcome : *outcomes) {
    SCOPED_TRACE(outcome.name);
    const bool good = outcome.name == "good" || outcome.name == "fine";
    EXPECT_EQ(outcome.end == JobEnd::kFinished, good);
    EXPECT_EQ(outcome.status.ok(), good);
    EXPECT_EQ(outcome.written, good);
    EXPECT_EQ(std::filesystem::exists(outcome.out / "adapter_config.json"), good);
    if (good) continue;
    EXPECT_NE(outcome.status.message().find(reasons.at(outcome.name)), std::string::npos) << outcome.status.message();
  }
  EXPECT_EQ(outcomes->at(1).step, 15);
  EXPECT_EQ(outcomes->at(2).step, 4);
  EXPECT_EQ(outcomes->at(3).step, 5);
  const auto lines = log_lines(folder_ / "run");
  EXPECT_EQ(std::count_if(lines.begin(), lines.end(), [](const std::string& line) { return line.find("\"end\":\"failed\"") != std::string::npos; }), 5);
}

TEST_F(TrainRunTest, ASweepHalvesItsArmsAndNamesTheWinner) {
  script_.eval = [](const std::string& job, int64_t step) {
    return EvalReport{.loss = 2.0 - 0.01 * static_cast<double>(step) * static_cast<double>(job.back() - '0'), .tokens = 10};
  };
  std::vector<JobPlan> plans;
  for (int i = 1; i <= 5; ++i) {
    plans.push_back(looked_at("arm" + std::to_string(i)));
    plans.back().sweep = "rates";
  }
  plans.push_back(looked_at("outside0"));
  plans.back().life.worse_than_base_fails = false;
  RunSpec spec = small_run(folder_.path(), plans);
  spec.sweeps = {{.name = "rates", .out = folder_ / "adapters/rates"}};
  const auto outcomes = go(spec);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  const int64_t steps[] = {4, 4, 8, 15, 15, 15};  // looks at steps 4 and 8 of 15: five arms, then three, then two
  for (size_t i = 0; i < 6; ++i) {
    const JobOutcome& outcome = outcomes->at(i);
    EXPECT_EQ(outcome.step, steps[i]) << outcome.name;
    EXPECT_EQ(outcome.end, i < 4 ? JobEnd::kLostSweep : JobEnd::kFinished) << outcome.name;
    EXPECT_EQ(outcome.written, i >= 4) << outcome.name;
    EXPECT_EQ(outcome.sweep_winner, i == 4) << outcome.name;
    if (i >= 4) continue;
    EXPECT_NE(outcome.note.find("the best arm arm5"), std::string::npos) << outcome.note;
  }
  EXPECT_TRUE(std::any_of(witness_.notes.begin(), witness_.notes.end(), [](const std::string& note) {
    return note.find("winner is arm5") != std::string::npos && note.find("adapters/rates") != std::string::npos;
  }));
  EXPECT_TRUE(PeftDir::read(folder_ / "adapters/rates").ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "adapters/arm5")) << "the winner has its job's name, and no other";
  const std::string card = read_file(folder_ / "adapters/rates/README.md").value();
  EXPECT_THAT(card, testing::HasSubstr("\n# rates\n"));
  EXPECT_THAT(card, testing::HasSubstr("the arm arm5"));
}

TEST_F(TrainRunTest, ASweepThatKeepsAllWritesEveryArmAndTheWinnerUnderTheJobsName) {
  script_.eval = [](const std::string& job, int64_t step) {
    return EvalReport{.loss = 2.0 - 0.01 * static_cast<double>(step) * static_cast<double>(job.back() - '0'), .tokens = 10};
  };
  std::vector<JobPlan> plans;
  for (int i = 1; i <= 3; ++i) {
    plans.push_back(looked_at("arm" + std::to_string(i)));
    plans.back().sweep = "rates";
  }
  RunSpec spec = small_run(folder_.path(), plans);
  spec.sweeps = {{.name = "rates", .halve_at = {0.5}, .out = folder_ / "adapters/rates", .keep = SweepKeep::kAll}};
  const auto outcomes = go(spec);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  EXPECT_EQ(outcomes->at(0).end, JobEnd::kLostSweep);
  for (const char* name : {"arm1", "arm2", "arm3", "rates"}) EXPECT_TRUE(PeftDir::read(folder_ / "adapters" / name).ok()) << name;
  const auto files = adapter_bytes(folder_.path());
  EXPECT_EQ(files.at("adapters/rates/adapter_model.safetensors"), files.at("adapters/arm3/adapter_model.safetensors"));
}

TEST_F(TrainRunTest, ByExactMatchTheBestLookIsTheOneWithMostRowsRight) {
  script_.eval = [](const std::string&, int64_t step) {  // the loss is best at 6, the rows at 12
    return EvalReport{.loss = 2.0 + 0.01 * std::abs(static_cast<double>(step) - 6), .tokens = 10, .token_accuracy = 0.5,
                      .exact_rows = step == 0 ? 0.1 : 0.9 - 0.01 * std::abs(static_cast<double>(step) - 12)};
  };
  JobPlan exact = looked_at("exact"), loss = looked_at("loss");
  exact.life.best_by = BestBy::kExactMatch;
  loss.life.worse_than_base_fails = exact.life.worse_than_base_fails = false;
  const auto outcomes = go(small_run(folder_.path(), {exact, loss}));
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  EXPECT_EQ(outcomes->at(0).written_step, 12);
  EXPECT_DOUBLE_EQ(outcomes->at(0).eval->exact_rows, 0.9);
  EXPECT_DOUBLE_EQ(outcomes->at(0).base_eval->exact_rows, 0.1);
  EXPECT_EQ(outcomes->at(1).written_step, 6);
  const std::string report = read_file(folder_ / "run/report.html").value();
  EXPECT_THAT(report, testing::HasSubstr("<td>0.1</td><td>0.9</td><td>0.5</td>"));
}

// Jobs of several kinds on the same rows: whatever each kind's arithmetic makes of its identity, the base has one figure. A job that goes on
// from an adapter has the base's, and its start's beside it.
TEST_F(TrainRunTest, OneBaseHasOneFigureAndAStartHasItsOwn) {
  ASSERT_TRUE(go(small_run(folder_.path(), {small_job(folder_.path(), "first", 2)})).ok());
  script_.eval = [](const std::string& job, int64_t step) {
    return EvalReport{.loss = (job == "lora" || job == "base" ? 2.0 : job == "flora" ? 2.0001 : 1.5) - 0.01 * static_cast<double>(step), .tokens = 10};
  };
  JobPlan lora = looked_at("lora"), flora = looked_at("flora"), next = looked_at("next");
  flora.job.kind = TrainKind::kFlora;
  next.start_from = (folder_ / "adapters/first").string();
  RunSpec spec = small_run(folder_.path(), {lora, flora, next});
  spec.out = folder_ / "run2";
  const auto outcomes = go(spec);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  for (const JobOutcome& outcome : *outcomes) EXPECT_DOUBLE_EQ(outcome.base_eval->loss, 2.0) << outcome.name;
  EXPECT_FALSE(outcomes->at(0).start_eval.has_value());
  EXPECT_DOUBLE_EQ(outcomes->at(2).start_eval->loss, 1.5);
  const std::string card = read_file(folder_ / "adapters/next/README.md").value();
  EXPECT_THAT(card, testing::HasSubstr("goes on from the adapter first"));
  EXPECT_THAT(card, testing::HasSubstr("| base | 2 |"));
  EXPECT_THAT(card, testing::HasSubstr("| start: first | 1.5 |"));
}

// Copies of the whole folder at random steps, as a killed process leaves it; each goes on to the end.
TEST_F(TrainRunTest, WhateverMomentItIsCutAtTheFilesAreThoseOfAWholeRun) {
  script_.eval = [](const std::string& job, int64_t step) {
    return EvalReport{.loss = 2.0 - 0.1 * std::cos(static_cast<double>(step + job.back())), .tokens = 10, .same_answer = 0.3};
  };
  const auto spec_in = [](const Path& folder) {
    std::vector<JobPlan> plans;
    for (const char* name : {"a1", "a2", "a3", "a4"}) {
      plans.push_back(small_job(folder, name));
      plans.back().eval_rows = 8;
      plans.back().life.eval_every = 2;
      plans.back().life.checkpoint_every = 3;
      plans.back().life.worse_than_base_fails = false;
      plans.back().sweep = "s";
    }
    plans.push_back(small_job(folder, "patient", 6));
    plans.back().eval_rows = 8;
    plans.back().life.patience = 2;
    plans.back().life.worse_than_base_fails = false;
    plans.push_back(small_job(folder, "short", 1));
    RunSpec spec = small_run(folder, plans);
    spec.sweeps = {{.name = "s", .out = folder / "adapters/s"}};
    return spec;
  };
  const TestFolder copies;
  int cuts = 0;
  witness_.at_step = [&](const StepReport&) {
    std::filesystem::copy(folder_.path(), copies / std::to_string(cuts++), std::filesystem::copy_options::recursive);
  };
  ASSERT_TRUE(go_on(spec_in(folder_.path()), false).ok());
  const auto whole_adapters = adapter_bytes(folder_.path());
  const auto whole_log = log_lines(folder_ / "run");
  ASSERT_GT(cuts, 30);
  Random random(20);
  for (int cut = 0; cut < cuts; cut += 1 + static_cast<int>(random.next_below(9))) {
    SCOPED_TRACE(cut);
    const Path folder = copies / std::to_string(cut);
    witness_ = Witness();
    const auto outcomes = go_on(spec_in(folder), true);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
    ASSERT_TRUE(adapter_bytes(folder) == whole_adapters);
    ASSERT_EQ(log_lines(folder / "run"), whole_log);
    for (const JobOutcome& outcome : *outcomes) {
      const auto events = testing_tensorboard::decode(read_file(folder / "run/tensorboard" / outcome.name / kTensorboardFileName).value());
      ASSERT_TRUE(events.has_value());
      std::set<std::pair<int64_t, std::string>> seen;
      for (const auto& event : *events) {
        for (const auto& [tag, value] : event.values) ASSERT_TRUE(seen.emplace(event.step, tag).second) << tag << event.step;
      }
      ASSERT_EQ(std::count_if(seen.begin(), seen.end(), [](const auto& one) { return one.second == "train/loss"; }), outcome.step);
    }
  }
}

TEST_F(TrainRunTest, AnInterruptedRunGoesOnAndAFinishedOneHasNothingToDo) {
  const RunSpec spec = small_run(folder_.path(), {looked_at("a")});
  witness_.stop_after = 7;
  const auto stopped = go_on(spec, false);
  EXPECT_EQ(stopped.status().code(), Code::kCancelled);
  EXPECT_NE(refusal(spec).find("--resume"), std::string::npos) << "an unfinished run is not thrown away by accident";
  const auto recorded = recorded_choice(spec.out);
  ASSERT_TRUE(recorded.ok() && recorded->has_value());
  EXPECT_EQ((*recorded)->arithmetic, "f32-fma");
  ASSERT_TRUE(go(spec, true).ok());
  EXPECT_EQ(witness_.steps.size(), 8u);
  EXPECT_EQ(witness_.steps.front().step, 8);
  const auto before = adapter_bytes(folder_.path());
  const auto again = go(spec, true);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(witness_.steps.empty());
  EXPECT_EQ(again->at(0).step, 15);
  EXPECT_TRUE(again->at(0).written);
  EXPECT_TRUE(adapter_bytes(folder_.path()) == before);
  EXPECT_EQ(refusal(spec), "accepted") << "a finished run may be followed by another";
}

TEST_F(TrainRunTest, AResumeNamesWhatHasChanged) {
  const RunSpec spec = small_run(folder_.path(), {looked_at("a"), looked_at("b")});
  witness_.stop_after = 6;
  ASSERT_EQ(go_on(spec, false).status().code(), Code::kCancelled);
  ASSERT_EQ(refusal(spec, true), "accepted");
  const auto changed = [&](const std::function<void(RunSpec&)>& change) {
    RunSpec other = spec;
    change(other);
    return refusal(other, true);
  };
  EXPECT_NE(changed([](RunSpec& s) { s.jobs[1].job.learning_rate = 0.5; }).find("b: learning_rate was 0.003"), std::string::npos);
  EXPECT_NE(changed([](RunSpec& s) { s.jobs[0].job.seed = 9; }).find("a: seed was 1"), std::string::npos);
  EXPECT_NE(changed([](RunSpec& s) { s.jobs[0].life.patience = 9; }).find("a: patience was 0"), std::string::npos);
  EXPECT_NE(changed([](RunSpec& s) { std::swap(s.jobs[0], s.jobs[1]); }).find("\"a\" where \"b\""), std::string::npos);
  EXPECT_NE(changed([](RunSpec& s) { s.jobs.pop_back(); }).find("also has \"b\""), std::string::npos);
  RunServices other = services(true);
  other.choice.arithmetic = kernels::Arithmetic::kAmxBf16;
  EXPECT_NE(TrainRun::create(spec, other).status().message().find("arithmetic was \"f32-fma\""), std::string::npos);
  other = services(true);
  other.version = "other";
  EXPECT_NE(TrainRun::create(spec, other).status().message().find("umbel version was \"test\""), std::string::npos);
  other = services(true);
  other.base_fingerprint = "0123456789abcdef";
  EXPECT_NE(TrainRun::create(spec, other).status().message().find("base weights was \"\""), std::string::npos);
  write_rows(folder_ / "rows.jsonl", 21);
  EXPECT_NE(refusal(spec, true).find("data was"), std::string::npos);
}

TEST_F(TrainRunTest, ADamagedCheckpointGivesWayToTheOneBefore) {
  JobPlan plan = looked_at("a");
  plan.life.checkpoint_every = 2;
  const RunSpec spec = small_run(folder_.path(), {plan});
  ASSERT_TRUE(go(spec).ok());
  const auto whole = adapter_bytes(folder_.path());
  const TestFolder second;
  write_rows(second / "rows.jsonl", 20);
  JobPlan twin = plan;
  twin.data = (second / "rows.jsonl").string();
  twin.out = second / "adapters/a";
  const RunSpec spec2 = small_run(second.path(), {twin});
  witness_ = Witness();
  witness_.stop_after = 8;
  ASSERT_EQ(go_on(spec2, false).status().code(), Code::kCancelled);
  const Path last = second / "run/checkpoints/round-000000008";
  ASSERT_TRUE(std::filesystem::exists(second / "run/checkpoints/round-000000006"));
  std::filesystem::resize_file(last / "job-0.safetensors", 100);
  ASSERT_TRUE(go(spec2, true).ok());
  EXPECT_EQ(witness_.steps.front().step, 7);
  EXPECT_TRUE(adapter_bytes(second.path()) == whole);
}

TEST_F(TrainRunTest, WhatCanBeRefusedIsRefusedBeforeAnythingIsComputed) {
  const Path& folder = folder_.path();
  const auto one = [&](const std::function<void(RunSpec&)>& change) {
    RunSpec spec = small_run(folder, {looked_at("a"), looked_at("b")});
    change(spec);
    return refusal(spec);
  };
  EXPECT_EQ(one([](RunSpec&) {}), "accepted");
  EXPECT_NE(one([](RunSpec& s) { s.jobs.clear(); }).find("at least one job"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].job.name = "a"; }).find("two jobs are called \"a\""), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].job.name = "../x"; }).find("../x"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].out = s.jobs[0].out / "../a"; }).find("writes to"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].data = "/nowhere/rows.jsonl"; }).find("/nowhere/rows.jsonl"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].eval_rows = 20; }).find("leaves nothing to train on"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].eval_data = "x"; }).find("one of them"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[1].sweep = "x"; }).find("no sweep \"x\""), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.sweeps = {{.name = "x", .halve_at = {0.5, 0.25}, .out = "x"}}; }).find("halve_at"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[0].life.spike = 0.5; }).find("spike"), std::string::npos);
  EXPECT_NE(one([](RunSpec& s) { s.jobs[0].job.rank = 0; }).find("rank"), std::string::npos);
  std::ofstream(folder / "file") << "x";
  EXPECT_NE(one([&](RunSpec& s) { s.jobs[0].out = folder / "file"; }).find("is not a folder"), std::string::npos);
  EXPECT_NE(one([&](RunSpec& s) { s.out = folder / "file/run"; }).find("file/run"), std::string::npos);
}

TEST_F(TrainRunTest, AFolderThatCanNotBeWrittenInTheEndIsWrittenByAResume) {
  const RunSpec spec = small_run(folder_.path(), {looked_at("a"), looked_at("b")});
  witness_.at_step = [&](const StepReport& report) {
    if (report.step != 10) return;
    std::filesystem::remove_all(folder_ / "adapters/a");
    std::ofstream(folder_ / "adapters/a") << "in the way";
  };
  const auto outcomes = go_on(spec, false);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  EXPECT_FALSE(outcomes->at(0).written);
  EXPECT_NE(outcomes->at(0).status.message().find("--resume tries again"), std::string::npos) << outcomes->at(0).status.message();
  EXPECT_TRUE(outcomes->at(1).written);
  std::filesystem::remove(folder_ / "adapters/a");
  const auto again = go(spec, true);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_TRUE(again->at(0).written && again->at(0).status.ok());
  EXPECT_TRUE(witness_.steps.empty());
  EXPECT_TRUE(PeftDir::read(folder_ / "adapters/a").ok());
}

TEST_F(TrainRunTest, TheReportShowsCurvesAndEscapesWhatStrangersWrote) {
  RunSpec spec = small_run(folder_.path(), {looked_at("a")});
  const Path odd = folder_ / "r<script>&\".jsonl";
  write_rows(odd, 20);
  spec.jobs[0].data = odd.string();
  ASSERT_TRUE(go(spec).ok());
  const std::string page = read_file(folder_ / "run/report.html").value();
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("r&lt;script&gt;&amp;"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos) << "nothing is fetched";
  for (const char* words : {"<svg", "Training loss", "held-out rows", "Learning rate", "finished", "<pre>"}) EXPECT_NE(page.find(words), std::string::npos) << words;
}

TEST_F(TrainRunTest, TheExpectedTimeIsToldAfterTenStepsAndBesideWhatWasTaken) {
  ASSERT_TRUE(go(small_run(folder_.path(), {looked_at("a")})).ok());
  const auto told = [&](const std::string& word) {
    return std::count_if(witness_.notes.begin(), witness_.notes.end(), [&](const std::string& note) { return note.find(word) != std::string::npos; });
  };
  EXPECT_EQ(told("expected time"), 1);
  EXPECT_EQ(told("took"), 1);
  const auto run = TrainRun::create(small_run(folder_.path(), {looked_at("a")}), services());
  ASSERT_TRUE(run.ok());
  const auto estimate = (*run)->probe();
  ASSERT_TRUE(estimate.ok());
  EXPECT_EQ(estimate->steps_probed, 10);
  EXPECT_GE(estimate->expected_seconds, estimate->probed_seconds);
}

}  // namespace
}  // namespace umbel::train
