// umbel eval MODEL, run as a user would: exams of the adapters that come along, and the study's figures.
#include <gtest/gtest.h>

#include <algorithm>
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

// A token that only the adapter's folder knows is one id in its prompts: here one without an embedding, which is said.
TEST_F(EvalRun, AnAdaptersOwnTokensAreReadInItsExam) {
  std::filesystem::create_directories(folder_ / "own");
  std::filesystem::copy(assets("adapters/banking77-lora-r8"), folder_ / "own/banker", std::filesystem::copy_options::recursive);
  std::ofstream(folder_ / "own/banker/added_tokens.json") << "{\"<CALL>\": 4096}";
  std::ofstream(folder_ / "rows.jsonl") << "{\"prompt\": \"<CALL> my card\", \"completion\": \"x\"}\n";
  const std::string data = " --data " + (folder_ / "rows.jsonl").string() + " --scorer exact_match";
  expect_refused("eval seedling --adapters " + (folder_ / "own").string() + " --adapter banker" + data, {"4096"});
  EXPECT_EQ(run_program("eval seedling" + data).status, 0);
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

// Every choice is as likely as "umbel score" says.
TEST_F(EvalRun, ChoicesAreScoredAsUmbelScoreScoresThem) {
  std::ofstream(folder_ / "data/rows.jsonl") << "{\"q\": \"The sky is\", \"choices\": [\"blue\", \"a kind of fish\"], \"right\": 0}\n"
                                             << "{\"q\": \"Two and two are\", \"choices\": [\"four\", \"five\", \"four hundred\"], \"right\": \"four\"}\n";
  const std::string task = "task: sky\nsource: {files: [rows.jsonl]}\nprompt: \"{q}\"\nchoices_from: choices\nreference_from: right\n";
  std::ofstream(folder_ / "sky.yaml") << task << "ask: likelihood\nscorer: acc\nhonest: acc_norm\n";
  std::ofstream(folder_ / "chosen.yaml") << task << "ask: choose\nscorer: exact_match\n";
  const std::string out = (folder_ / "out").string();
  const std::string common = "eval seedling --adapters " + assets("adapters") + " --adapter bc5cdr-lora-r32 --data-dir " + (folder_ / "data").string() + " --json --out " + out;
  const Finished run = run_program(common + " --tasks " + (folder_ / "sky.yaml").string());
  ASSERT_EQ(run.status, 0) << run.error;
  const Finished again = run_program(common + " --tasks " + (folder_ / "sky.yaml").string());
  EXPECT_EQ(again.out, run.out) << "nothing was left to ask";
  const Finished shown = run_program("eval show " + out + " --adapter bc5cdr-lora-r32 --json");
  ASSERT_EQ(shown.status, 0) << shown.error;
  const Json row = Json::parse(shown.out.substr(0, shown.out.find('\n')));
  const Json answer = Json::parse(row["answer"].get<std::string>());
  ASSERT_EQ(answer["choices"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const Finished score = run_program("score seedling --adapter " + assets("adapters/bc5cdr-lora-r32") + " --prompt 'The sky is' --completion ' " + answer["choices"][i].get<std::string>() + "' --json");
    ASSERT_EQ(score.status, 0) << score.error;
    EXPECT_NEAR(Json::parse(score.out)["log_likelihood"].get<double>(), answer["log_likelihoods"][i].get<double>(), 1e-5);
  }
  const Finished chosen = run_program("eval seedling --tasks " + (folder_ / "chosen.yaml").string() + " --data-dir " + (folder_ / "data").string() + " --json --out " + out + "2");
  ASSERT_EQ(chosen.status, 0) << chosen.error;
  const Finished taken = run_program("eval show " + out + "2 --json --task sky");
  EXPECT_NE(taken.out.find("\"answer\""), std::string::npos) << taken.out;
  for (size_t begin = 0; begin < taken.out.size();) {
    const size_t end = taken.out.find('\n', begin);
    const std::string text = Json::parse(taken.out.substr(begin, end - begin))["answer"].get<std::string>();
    EXPECT_TRUE(text == "blue" || text == "a kind of fish" || text == "four" || text == "five" || text == "four hundred") << text;
    begin = end + 1;
  }
}

TEST_F(EvalRun, BrokenDataIsOneLineThatNamesFileAndRemedy) {
  std::ofstream(folder_ / "data/cut.parquet") << "PAR1 and no more";
  std::filesystem::create_directories(folder_ / "data/set");
  std::ofstream(folder_ / "data/set/train.jsonl") << "{\"q\": 1}\n";
  const auto task = [&](const std::string& source) {
    std::ofstream(folder_ / "t.yaml") << "task: t\nsource: " << source << "\nprompt: \"{q}\"\ncompletion: \"{q}\"\nscorer: accuracy\n";
    return "eval seedling --tasks " + (folder_ / "t.yaml").string() + " --data-dir " + (folder_ / "data").string();
  };
  expect_refused(task("{files: [cut.parquet]}"), {"cut.parquet", "cut short", "fetch it again"});
  expect_refused(task("{files: [set], split: test}"), {"set", "no split \"test\"; there are: train"});
  expect_refused(task("{files: [set], split: train, configuration: de}"), {"no configuration \"de\"; there are: default"});
}

// One line each, exit status 2, and what was there stays as it was.
TEST_F(EvalRun, BadTaskFilesMixedTypesAndOtherVersionsAreOneLineEach) {
  const std::string task = (folder_ / "t.yaml").string();
  const std::string run = "eval seedling --tasks " + task + " --data-dir " + (folder_ / "data").string();
  const auto expect_line = [&](const std::string& arguments, const std::vector<std::string>& words) {
    expect_refused(arguments, words);
    const std::string told = run_program(arguments).error;
    EXPECT_EQ(std::count(told.begin(), told.end(), '\n'), 1) << told;
  };
  const auto write = [&](const std::string& text) { std::ofstream(task) << text; };
  const std::string good = "task: t\nsource: {files: [rows.jsonl]}\nprompt: \"{q}\"\ncompletion: \"{a}\"\nscorer: exact_match\nmax_tokens: 2\n";
  std::ofstream(folder_ / "data/rows.jsonl") << "{\"q\": \"x\", \"a\": \"y\"}\n";
  write("task: [");
  expect_line(run, {"t.yaml"});
  write(good + "promt: x\n");
  expect_line(run, {"t.yaml:7", "promt", "did you mean \"prompt\""});
  write(good + "honest: rogue\n");
  expect_line(run, {"rogue", "rouge"});
  write(good + "limit: many\n");
  expect_line(run, {"t.yaml:7", "limit", "many"});
  write("- a\n- b\n");
  expect_line(run, {"t.yaml", "a task is a map"});
  // A column that is a text in one row and something else in the next.
  for (const std::string value : {"[1, 2]", "{\"b\": 1}", "null"}) {
    write(good);
    std::ofstream(folder_ / "data/rows.jsonl") << "{\"q\": \"x\", \"a\": \"y\"}\n{\"q\": " << value << ", \"a\": \"y\"}\n";
    expect_line(run, {"rows.jsonl:2", "\"q\""});
  }
  std::ofstream(folder_ / "data/rows.jsonl") << "{\"q\": \"x\", \"a\": \"y\"}\n";
  const std::string out = (folder_ / "out").string();
  ASSERT_EQ(run_program(run + " --out " + out).status, 0);
  std::string bytes = read_file(out + "/exam.sqlite").value();
  bytes[63] = 7;  // user_version, big-endian, in bytes 60 to 63 of the header
  std::ofstream(out + "/exam.sqlite", std::ios::binary) << bytes;
  for (const std::string& verb : {run + " --out " + out, "eval show " + out, "eval report " + out}) expect_line(verb, {"version 7", "exam.sqlite", "name another folder"});
  EXPECT_EQ(read_file(out + "/exam.sqlite").value(), bytes) << "nothing is lost";
  std::ofstream(out + "/exam.sqlite") << "not a database, but long enough to be looked at as one: " << std::string(200, 'x');
  expect_line("eval show " + out, {"exam.sqlite"});
}

TEST_F(EvalRun, TheReportIsOnePage) {
  const std::string out = (folder_ / "out").string();
  ASSERT_EQ(run_program(exam("--out " + out)).status, 0);
  const Finished report = run_program("eval report " + out + " --title '<b>exam'");
  ASSERT_EQ(report.status, 0) << report.error;
  const std::string html = read_file(out + "/report.html").value();
  EXPECT_NE(html.find("&lt;b&gt;exam"), std::string::npos);
  EXPECT_NE(html.find("banking77-lora-r8"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  expect_refused("eval report /nowhere", {"/nowhere", "no exam"});
}

}  // namespace
}  // namespace umbel
