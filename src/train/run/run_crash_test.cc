// Runs of real training in processes of their own that are killed (SIGKILL) or run into a full disk at arbitrary moments, and go
// on: the files must be those of a run that nothing happened to.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/sanitized_testing.h"
#include "store/peft_dir.h"
#include "train/run/run_testing.h"

namespace umbel::train {
namespace {

constexpr int kKills = testing::kSanitized ? 2 : 20;

constexpr int kRan = 0, kRefused = 3;

class CrashTest : public ::testing::Test {
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
  // Three kinds, one looked at and with a best adapter that is not its last.
  static RunSpec spec_in(const Path& folder) {
    JobPlan looked = small_job(folder, "looked", 4), scaled = small_job(folder, "scaled", 2), plain = small_job(folder, "plain", 3);
    looked.job.rank = 2;
    looked.job.learning_rate = 0.05;  // over the top: the held-out loss goes up again
    looked.eval_rows = 4;
    looked.life.eval_every = 2;
    looked.life.checkpoint_every = 2;
    looked.life.worse_than_base_fails = false;
    scaled.job.kind = TrainKind::kIa3;
    scaled.job.targets = {};
    plain.job.kind = TrainKind::kRsLora;
    plain.life.checkpoint_every = 3;
    return small_run(folder, {looked, scaled, plain});
  }
  // From a step of the first job on, no file can grow beyond so many bytes: a disk that is full.
  struct Full {
    int64_t from_step = 0;
    rlim_t file_bytes_max = RLIM_INFINITY;
  };
  static Status train(const Path& folder, bool resume, const Full& full) {
    const RunServices services{.model = *model_, .tokenizer = *tokenizer_, .base_name = "seedling", .choice = *choice_, .resume = resume,
                               .version = "test"};
    ASSIGN_OR_RETURN(const auto run, TrainRun::create(spec_in(folder), services));
    Witness witness;
    const auto fill_disk = [&] {
      const rlimit limit{full.file_bytes_max, RLIM_INFINITY};
      setrlimit(RLIMIT_FSIZE, &limit);
    };
    if (full.from_step == 0) fill_disk();
    witness.at_step = [&](const StepReport& report) {
      if (report.index == 0 && report.step == full.from_step) fill_disk();
    };
    ASSIGN_OR_RETURN(const auto outcomes, run->run(witness));
    for (const JobOutcome& outcome : outcomes) RETURN_IF_ERROR(outcome.status);
    return ok_status();
  }
  // In a process of its own.
  static pid_t start(const Path& folder, bool resume) { return start(folder, resume, Full()); }
  static pid_t start(const Path& folder, bool resume, const Full& full) {
    const pid_t child = fork();
    if (child != 0) return child;
    signal(SIGXFSZ, SIG_IGN);
    const Status status = train(folder, resume, full);
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
    _exit(status.ok() ? kRan : kRefused);
  }
  // Its exit status; -1 when a signal ended it.
  static int wait_for(pid_t child) {
    int raw = 0;
    waitpid(child, &raw, 0);
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : -1;
  }
  static void prepare(const Path& folder) { write_rows(folder / "rows.jsonl", 16); }

  static kernels::Choice* choice_;
  static std::shared_ptr<const Model>* model_;
  static std::shared_ptr<const Tokenizer>* tokenizer_;
};
kernels::Choice* CrashTest::choice_ = nullptr;
std::shared_ptr<const Model>* CrashTest::model_ = nullptr;
std::shared_ptr<const Tokenizer>* CrashTest::tokenizer_ = nullptr;

TEST_F(CrashTest, KilledAtAnyMomentAResumedRunWritesTheSameFiles) {
  const TestFolder whole;
  prepare(whole.path());
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(wait_for(start(whole.path(), false)), kRan);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto adapters = adapter_bytes(whole.path());
  const auto log = log_lines(whole / "run");
  ASSERT_EQ(adapters.size(), 12u);
  ASSERT_EQ(std::count_if(log.begin(), log.end(), [](const std::string& line) { return line.find("\"event\":\"step\"") != std::string::npos; }), 12 + 8 + 12);

  Random random(4);
  int killed = 0;
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    SCOPED_TRACE(kill_number);
    const TestFolder folder;
    prepare(folder.path());
    // Once or twice in a row, anywhere in the time that a whole run takes.
    bool resume = false;
    for (uint64_t times = 1 + random.next_below(2); times > 0; --times) {
      const pid_t child = start(folder.path(), resume);
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds * random.next_double()));
      kill(child, SIGKILL);
      killed += wait_for(child) == -1 ? 1 : 0;
      resume = true;
    }
    ASSERT_EQ(wait_for(start(folder.path(), true)), kRan);
    ASSERT_TRUE(adapter_bytes(folder.path()) == adapters);
    ASSERT_EQ(log_lines(folder / "run"), log);
  }
  EXPECT_GE(killed, kKills / 2) << "most of them must have been under way";
}

TEST_F(CrashTest, AFullDiskLosesNothingThatWasWritten) {
  const TestFolder whole;
  prepare(whole.path());
  ASSERT_EQ(wait_for(start(whole.path(), false)), kRan);
  const auto adapters = adapter_bytes(whole.path());
  // The log, the best adapter (52 kB), a checkpoint (150 kB): from the beginning, and in the middle.
  std::vector<Full> cases{{0, 700}, {0, 30000}, {0, 100000}, {5, 100000}, {7, 700}};
  if (testing::kSanitized) cases = {{5, 100000}};
  for (const Full& full : cases) {
    SCOPED_TRACE(std::to_string(full.file_bytes_max) + " bytes from step " + std::to_string(full.from_step));
    const TestFolder folder;
    prepare(folder.path());
    // An adapter of an earlier day stands where the first job writes.
    const Path earlier = folder / "adapters/looked";
    std::filesystem::create_directories(earlier);
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
      std::filesystem::copy(whole / "adapters/looked" / name, earlier / name);
    }
    const int ended = wait_for(start(folder.path(), false, full));
    EXPECT_EQ(ended, kRefused) << "a plain failure with a message, no crash";
    EXPECT_TRUE(PeftDir::read(earlier).ok()) << "still the earlier one, whole";
    EXPECT_EQ(recorded_choice(folder / "run").value().has_value(), full.from_step > 0) << "checkpoints stay";
    ASSERT_EQ(wait_for(start(folder.path(), true)), kRan);
    ASSERT_TRUE(adapter_bytes(folder.path()) == adapters);
  }
}

TEST_F(CrashTest, RealJobsThatGoWrongStopAndTheGoodOneIsWritten) {
  const TestFolder folder;
  write_rows(folder / "rows.jsonl", 24);
  std::vector<JobPlan> plans;
  for (const auto& [name, rate] : {std::pair{"good", 3e-3}, std::pair{"nan", 1e30}, std::pair{"wild", 3.0}, std::pair{"dead", 1e30}}) {
    JobPlan plan = small_job(folder.path(), name, 4);
    plan.job.learning_rate = rate;
    plan.job.clip = 0;
    plan.eval_rows = plan.job.name == "good" ? 6 : 8;  // too few to be judged as collapsed: so short a training may well be
    if (plan.job.name == "nan") plan.job.kind = TrainKind::kFlora;
    plans.push_back(plan);
  }
  const RunServices services{.model = *model_, .tokenizer = *tokenizer_, .base_name = "seedling", .choice = *choice_, .version = "test"};
  const auto run = TrainRun::create(small_run(folder.path(), plans), services);
  ASSERT_TRUE(run.ok()) << run.status().message();
  Witness witness;
  const auto outcomes = (*run)->run(witness);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status().message();
  EXPECT_TRUE(outcomes->at(0).status.ok()) << outcomes->at(0).status.message();
  EXPECT_LT(outcomes->at(0).eval->loss, outcomes->at(0).base_eval->loss);
  EXPECT_TRUE(PeftDir::read(folder / "adapters/good").ok());
  for (const size_t bad : {1, 2, 3}) {
    const JobOutcome& outcome = outcomes->at(bad);
    EXPECT_EQ(outcome.end, JobEnd::kFailed) << outcome.name;
    EXPECT_FALSE(std::filesystem::exists(outcome.out / "adapter_config.json"));
  }
  EXPECT_NE(outcomes->at(1).status.message().find("not a number"), std::string::npos) << outcomes->at(1).status.message();
  // LoRA thrown that far saturates the model: nothing moves any more.
  EXPECT_NE(outcomes->at(3).status.message().find("exactly 0"), std::string::npos) << outcomes->at(3).status.message();
}

}  // namespace
}  // namespace umbel::train
