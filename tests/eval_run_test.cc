// umbel eval MODEL, run as a user would: exams of the adapters that come along, and the study's figures.
#include <gtest/gtest.h>

#include <csignal>

#include "io/test_folder.h"
#include "program.h"

namespace umbel {
namespace {

using testing::Finished;
using testing::run_program;

std::string assets(const std::string& name) { return (testing::project_dir() / "assets" / name).string(); }

class EvalRun : public ::testing::Test {
 protected:
  // The first rows of a task's file as data of its own.
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "data/tasks");
    std::filesystem::copy(assets("tasks/banking77.test.jsonl"), folder_ / "data/tasks/banking77.test.jsonl");
    std::filesystem::copy(assets("tasks/bc5cdr.test.jsonl"), folder_ / "data/tasks/bc5cdr.test.jsonl");
  }
  std::string exam(const std::string& more, int rows = 4) {
    return "eval seedling --adapters " + assets("adapters") + " --adapter banking77-lora-r8 --adapter bc5cdr-lora-r32 --tasks banking77,bc5cdr_json --limit " + std::to_string(rows) + " --data-dir " +
           (folder_ / "data").string() + " --json " + more;
  }
  void expect_refused(const std::string& arguments, const std::vector<std::string>& words) {
    const Finished run = run_program(arguments);
    EXPECT_EQ(run.status, 2) << run.out;
    EXPECT_EQ(run.out, "");
    for (const std::string& word : words) EXPECT_NE(run.error.find(word), std::string::npos) << word << " in " << run.error;
  }

  TestFolder folder_;
};

const Json& result_of(const Json& report, const std::string& task, const std::string& adapter) {
  for (const Json& one : report["results"]) {
    if (one["task"] == task && one["adapter"] == adapter) return one;
  }
  static const Json none;
  ADD_FAILURE() << "no result of " << task << " " << adapter;
  return none;
}

TEST_F(EvalRun, EveryAdapterAnswersEveryTaskAndIsComparedWithTheBase) {
  const Finished run = run_program(exam(""));
  ASSERT_EQ(run.status, 0) << run.error;
  const Json report = Json::parse(run.out);
  const Json& bank = result_of(report, "banking77", "banking77-lora-r8");
  EXPECT_GT(bank["score"].get<double>(), bank["base_score"].get<double>());
  EXPECT_EQ(bank["rows"], 4);
  EXPECT_EQ(bank["interval"]["method"], "wilson");
  EXPECT_EQ(bank["lift"]["test"], "mcnemar");
  EXPECT_EQ(bank["base_score"], result_of(report, "banking77", "")["score"]);
  EXPECT_GE(bank["lift"]["p_holm"].get<double>(), bank["lift"]["p"].get<double>());
  EXPECT_GT(bank["prompt_tokens"], 0);
  result_of(report, "bc5cdr_json", "bc5cdr-lora-r32");
  // Alone, in batches of one, the same answers: the same bytes.
  const Finished alone = run_program(exam("--sequences 1 --threads 1"));
  EXPECT_EQ(alone.out, run.out) << alone.error;
}

TEST_F(EvalRun, AKilledExamGoesOnWhereItStopped) {
  const std::string out = (folder_ / "out").string();
  const Finished whole = run_program(exam(""));
  ASSERT_EQ(whole.status, 0) << whole.error;
  // Killed as soon as a few answers are there.
  const std::string line = testing::program() + " " + exam("--sequences 2 --out " + out) + " > /dev/null 2>&1 & echo $!";
  FILE* shell = popen(line.c_str(), "r");
  int id = 0;
  ASSERT_EQ(fscanf(shell, "%d", &id), 1);
  pclose(shell);
  std::error_code none;
  for (int i = 0; i < 2000; ++i) {
    const auto size = std::filesystem::file_size(out + "/exam.sqlite-wal", none);
    if (!none && size > 250'000) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill(id, SIGKILL);
  for (int i = 0; i < 2000 && std::filesystem::exists("/proc/" + std::to_string(id), none); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const Finished rest = run_program(exam("--sequences 2 --out " + out));
  ASSERT_EQ(rest.status, 0) << rest.error;
  EXPECT_EQ(rest.out, whole.out);
  const Finished again = run_program(exam("--out " + out));  // nothing left to ask
  EXPECT_EQ(again.out, whole.out) << again.error;
  const Finished shown = run_program("eval show " + out + " --diff banking77-lora-r8 base --task banking77 --json");
  ASSERT_EQ(shown.status, 0) << shown.error;
  EXPECT_NE(shown.out.find("\"other_answer\""), std::string::npos) << shown.out;
  EXPECT_NE(run_program("eval show " + out + " --worst --rows 2").out.find("(base)"), std::string::npos);
  expect_refused("eval show " + folder_.path().string(), {"exam.sqlite"});
  expect_refused(exam("--out " + out, 3), {"rows (or --limit)", "name another folder"});
}

TEST_F(EvalRun, RowsOfOnesOwnAreAnExamToo) {
  const Finished run = run_program("eval seedling --adapters " + assets("adapters") + " --adapter banking77-lora-r8 --data " + assets("tasks/banking77.test.jsonl") +
                                   " --scorer class_accuracy --limit 3 --max-tokens 12 --stop '\n'");
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_NE(run.out.find("banking77-lora-r8"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("wilson"), std::string::npos);
}

TEST_F(EvalRun, APromptThatDoesNotFitIsCutAndCounted) {
  const std::string rows = (folder_ / "long.jsonl").string();
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "word ";
  std::ofstream(rows) << Json{{"prompt", text + "Intent:"}, {"completion", " x"}}.dump() << "\n";
  const Finished run = run_program("eval seedling --data " + rows + " --scorer accuracy --max-tokens 4 --json");
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_EQ(Json::parse(run.out)["results"][0]["cut"], 1);
}

TEST_F(EvalRun, WhatCantBeExaminedIsSaid) {
  expect_refused("eval seedling", {"--tasks", "--data"});
  expect_refused("eval seedling --tasks bankin77", {"\"bankin77\"", "\"banking77\""});
  expect_refused("eval seedling --tasks boolq --data-dir " + folder_.path().string(), {"boolq", "not at hand", "google/boolq"});
  expect_refused("eval seedling --data " + assets("tasks/banking77.test.jsonl"), {"--scorer"});
  expect_refused("eval seedling --data " + assets("tasks/banking77.test.jsonl") + " --scorer acuracy", {"acuracy"});
  expect_refused("eval seedling --adapters " + assets("adapters") + " --adapter nobody --tasks banking77 --data-dir " + (folder_ / "data").string(), {"nobody"});
}

TEST(EvalTasks, AreListedWithWhatIsAtHand) {
  const Finished run = run_program("eval tasks --json --data-dir /nowhere");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json tasks = Json::parse(run.out);
  EXPECT_GE(tasks.size(), 38u);
  for (const Json& task : tasks) EXPECT_EQ(task["at_hand"], false);
  EXPECT_NE(run_program("eval tasks").out.find("gsm8k"), std::string::npos);
}

TEST(LandCompare, TheQuotedFiguresAreComputedAgain) {
  const Finished run = run_program("land compare --json");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json report = Json::parse(run.out);
  EXPECT_EQ(report["overall"]["count.beats_gpt_4"], 194);
  EXPECT_EQ(report["models"].size(), 10u);
  EXPECT_EQ(report["types"].size(), 5u);
  EXPECT_NE(run_program("land compare").out.find("not supported"), std::string::npos);
}

TEST(DataMeasureVerb, PrintsFourteenFigures) {
  const Finished run = run_program("data measure " + assets("tasks/desk.train.jsonl") + " --json");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json report = Json::parse(run.out);
  EXPECT_EQ(report["heuristics"].size(), 14u);
  EXPECT_GT(report["heuristics"]["input_length_mean"], 1);
  EXPECT_EQ(run_program("data measure /nowhere").status, 2);
}

}  // namespace
}  // namespace umbel
