// umbel train from a file and from flags, through the program: several jobs at once, sweeps, changes by flags, and every bad
// input refused, all of it together, before anything is computed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/sanitized_testing.h"
#include "program.h"

namespace umbel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TrainConfig : public ::testing::Test {
 protected:
  TrainConfig() {
    dir_ = Path(::testing::TempDir()) / "umbel_train_config";
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    for (const char* name : {"plum", "pear"}) {
      std::ofstream file(dir_ / (std::string(name) + ".jsonl"));
      for (int i = 0; i < 16; ++i) {
        file << Json{{"prompt", "Number " + std::to_string(i) + ":"}, {"completion", std::string(" ") + name + " pudding"}}.dump() << "\n";
      }
    }
  }
  ~TrainConfig() override { std::filesystem::remove_all(dir_); }

  std::string file(const std::string& text) {
    std::ofstream(dir_ / "run.yaml") << text;
    return (dir_ / "run.yaml").string();
  }
  bool exists(const std::string& name) { return std::filesystem::exists(dir_ / name); }

  Path dir_;
};

TEST_F(TrainConfig, ManyJobsOfManyKindsInOneRun) {
  const std::string run_yaml = file(R"(base: seedling
dtype: f32
out: run
defaults: {batch: 8, epochs: 2, eval_rows: 4}
jobs:
  - {name: plum, data: plum.jsonl, rank: 2}
  - {name: pear, data: pear.jsonl, kind: ia3, lr: 3e-2, out: elsewhere/pear}
  - {name: both, data: plum.jsonl, kind: flora, rank: [1, 2], sweep: {halve_at: []}}
)");
  const Finished run = run_program("train --json --threads 1 " + run_yaml);
  ASSERT_EQ(run.status, 0) << run.error;
  const Json summary = Json::parse(run.out);
  ASSERT_EQ(summary["jobs"].size(), 4u);
  EXPECT_EQ(summary["jobs"][3]["name"], "both-r2");
  EXPECT_EQ(summary["jobs"][3]["sweep"], "both");
  int winners = 0;
  for (const Json& job : summary["jobs"]) {
    const bool arm = job.contains("sweep");
    const bool won = arm && job["sweep_winner"].get<bool>();
    winners += won ? 1 : 0;
    EXPECT_EQ(job["end"], arm && !won ? "lost its sweep" : "finished") << job.dump();
    EXPECT_EQ(job["base_eval_loss"], summary["jobs"][job["name"] == "pear" ? 1 : 0]["base_eval_loss"]) << "one base, one figure: " << job.dump();
    EXPECT_EQ(job["step"], 2) << job.dump();
    EXPECT_LT(job["eval_loss"].get<double>(), job["base_eval_loss"].get<double>()) << job.dump();
  }
  EXPECT_EQ(winners, 1);
  for (const char* out : {"run/plum", "elsewhere/pear", "run/both"}) {
    EXPECT_TRUE(exists(std::string(out) + "/adapter_config.json")) << out;
  }
  EXPECT_FALSE(exists("run/both-r1/adapter_config.json") || exists("run/both-r2/adapter_config.json"));
  EXPECT_TRUE(exists("run/train_log.jsonl"));
  EXPECT_THAT(run.error, HasSubstr("pear     step 2/2"));
}

// What an adapter needs to be asked as it was trained: its prompts, and the token that ends its turns.
TEST_F(TrainConfig, AnAdapterTellsItsPromptsAndTheEndOfItsTurns) {
  std::filesystem::copy(project_dir() / "assets/seedling", dir_ / "base", kReplace);
  std::ofstream(dir_ / "base/chat_template.jinja") << "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<pad>' }}{% endfor %}"
                                                      "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
  {
    std::ofstream talks(dir_ / "talks.jsonl"), table(dir_ / "table.csv");
    table << "text,label,note\n";
    for (const char* word : {"red", "blue", "green", "black"}) {
      const auto turn = [](const char* role, const std::string& content) { return Json{{"role", role}, {"content", content}}; };
      talks << Json{{"messages", {turn("user", std::string("Say ") + word), turn("assistant", word)}}}.dump() << "\n";
      table << word << "," << word << ",x\n";
    }
  }
  const Finished run = run_program("train --json --threads 1 " + file("base: " + (dir_ / "base").string() + R"(
out: run
defaults: {batch: 4, epochs: 1, rank: 1}
jobs:
  - {name: talks, data: talks.jsonl}
  - {name: table, data: table.csv, template: "Word: {text}\nSame:", completion: " {label}"}
)"));
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_THAT(run.error, HasSubstr("talks.jsonl: warning: 4 of 4 examples end with <pad>"));
  EXPECT_THAT(run.error, HasSubstr("table.csv: warning: fields that are not read: note"));
  EXPECT_EQ(read_json(dir_ / "run/talks/generation_config.json").value()["eos_token_id"], (Json{2, 0}));
  EXPECT_THAT(read_file(dir_ / "run/talks/README.md").value(), HasSubstr("Its turns end with"));
  EXPECT_FALSE(exists("run/table/generation_config.json"));
  const Json prompt = read_json(dir_ / "run/table/umbel_prompt.json").value();
  EXPECT_EQ(prompt["format"], "template");
  EXPECT_EQ(prompt["prompt"], "Word: {text}\nSame:");
  EXPECT_EQ(prompt["completion"], " {label}");
  EXPECT_EQ(prompt["fields"], Json{"text"});
  EXPECT_EQ(read_json(dir_ / "run/talks/umbel_prompt.json").value()["format"], "messages");
  EXPECT_THAT(read_file(dir_ / "run/table/README.md").value(), HasSubstr("    Word: {text}\n    Same:"));
}

TEST_F(TrainConfig, HeldOutRowsAreTheJobsOwnAndTheirFaultsAreTold) {
  const Finished run = run_program("train --json --threads 1 " + file(R"(base: seedling
out: run
defaults: {batch: 8, epochs: 1, rank: 1, eval_rows: 4}
jobs:
  - {name: plum, data: plum.jsonl, eval_data: plum.jsonl}
  - {name: pear, data: pear.jsonl, kind: ia3}
)"));
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_THAT(run.error, HasSubstr("plum: 16 of 16 held-out examples stand among the training rows too"));
  EXPECT_THAT(run.error, HasSubstr("plum: all 16 held-out examples have one answer"));
  EXPECT_THAT(run.error, HasSubstr("pear: ia3, "));
  EXPECT_THAT(run.error, HasSubstr("peak learning rate 0.3"));
  EXPECT_TRUE(Json::parse(run.out)["jobs"][0].contains("exact_match"));
}

// As GLUE has them: no header, no quoting. And what the run came to, in every place where it is told.
TEST_F(TrainConfig, ATableWithoutHeaderAndQuotesTrainsAndItsFiguresAreTold) {
  {
    std::ofstream table(dir_ / "glue.tsv");
    for (int i = 0; i < 40; ++i) table << "g" << i << "\t" << i % 2 << "\tA \"" << (i % 2 == 0 ? "plum" : "pear") << " number " << i << "\n";
  }
  const std::string run_yaml = file(R"(base: seedling
dtype: f32
out: run
data: glue.tsv
columns: [id, label, text]
template: 'Say: {text}\nKind:'
completion: ' {label}'
eval_rows: 8
best_by: exact_match
batch: 16
epochs: 2
)");
  const Finished run = run_program("train --threads 1 " + run_yaml);
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_THAT(run.error, HasSubstr(R"(template: \n is read as a line break)"));
  EXPECT_THAT(run.error, HasSubstr("cosine to 0.05 of it, warm-up 0.05 of the steps"));
  EXPECT_THAT(run.error, HasSubstr("glue.tsv: warning: fields that are not read: id"));
  for (const char* figure : {"held-out loss ", ", exact match ", ", token accuracy "}) EXPECT_THAT(run.out, HasSubstr(figure));
  EXPECT_THAT(read_file(dir_ / "run/README.md").value(), HasSubstr("| held-out rows | loss, nats per trained token | exact match | token accuracy |"));
  EXPECT_THAT(read_file(dir_ / "run/report.html").value(), HasSubstr("<th>exact match: base</th>"));
  const Finished look = run_program("data preview --json " + run_yaml);
  ASSERT_EQ(look.status, 0) << look.error;
  const Json seen = Json::parse(look.out);
  EXPECT_THAT(seen["rows"][0]["texts"][0]["text"].get<std::string>(), HasSubstr("Say: A \"plum number 0\nKind:"));
  EXPECT_EQ(seen["answers"][0]["examples"], 20);
  EXPECT_THAT(seen["warnings"][0].get<std::string>(), HasSubstr("line break"));
}

TEST_F(TrainConfig, AResultThatBeatsNothingSaysSoInTheLastLine) {
  const Finished run = run_program("train --threads 1 " + file("dtype: f32\nout: run\ndata: plum.jsonl\neval_rows: 4\nbatch: 4\nepochs: 1\nlr: 1e-30\nworse_than_base_fails: false\n"));
  ASSERT_EQ(run.status, 0) << run.error;
  const std::string last = run.out.substr(run.out.rfind('\n', run.out.size() - 2) + 1);
  EXPECT_THAT(last, HasSubstr("WARNING: run is no better than the base, by held-out loss"));
}

TEST_F(TrainConfig, ThePlanSaysEachKindsRateAndItsCourse) {
  const Finished run = run_program("train --threads 1 --plan --json " + file(R"(dtype: f32
out: run
defaults: {data: plum.jsonl, batch: 8, epochs: 1, rank: 1}
jobs: [{name: a}, {name: b, kind: ia3}, {name: c, kind: flora}, {name: d, kind: vera}, {name: e, kind: rslora}, {name: f, kind: ia3, lr: 1e-2}]
)"));
  ASSERT_EQ(run.status, 0) << run.error;
  const Json jobs = Json::parse(run.out)["jobs"];
  const double rates[] = {3e-3, 0.3, 0.1, 2e-2, 1e-3, 1e-2};
  for (size_t i = 0; i < std::size(rates); ++i) {
    EXPECT_EQ(jobs[i]["learning_rate"], rates[i]) << jobs[i].dump();
    EXPECT_EQ(jobs[i]["schedule"], "cosine");
    EXPECT_EQ(jobs[i]["warmup_share"], 0.05);
  }
}

TEST_F(TrainConfig, FlagsChangeWhatTheFileSays) {
  const std::string run_yaml = file("out: run\njobs:\n- {name: plum, data: plum.jsonl, epochs: 9}\n- {name: pear, data: pear.jsonl}\n");
  const std::string out = (dir_ / "other").string();
  const Finished run = run_program("train " + run_yaml + " --json --dtype f32 --epochs 1 --batch 16 --set jobs.pear.kind=ia3 --out " + out);
  ASSERT_EQ(run.status, 0) << run.error;
  const Json summary = Json::parse(run.out);
  EXPECT_EQ(summary["jobs"][0]["steps"], 1);
  EXPECT_EQ(read_json(dir_ / "other/pear/adapter_config.json").value()["peft_type"], "IA3");
  EXPECT_FALSE(exists("run"));
}

TEST_F(TrainConfig, EverythingThatIsWrongIsToldAtOnceAndNothingIsMade) {
  std::ofstream(dir_ / "empty.jsonl") << "";
  const std::string run_yaml = file(R"(base: nowhere
out: run
jobs:
  - {name: a, data: plum.jsonl}
  - {name: b, data: missing.jsonl}
  - {name: c, data: empty.jsonl, eval_data: also_missing.jsonl}
  - {name: d, data: plum.jsonl, out: plum.jsonl/inside}
)");
  const Finished run = run_program("train " + run_yaml);
  EXPECT_EQ(run.status, 2);
  for (const char* part : {"5 problems", "run.yaml:5: b: data: there is no file", "missing.jsonl", "run.yaml:6: c: data: ", "empty.jsonl\" is empty",
                           "run.yaml:6: c: eval_data: there is no file", "run.yaml:7: d: out: cannot make the folder",
                           "no model folder \"nowhere\""}) {
    EXPECT_THAT(run.error, HasSubstr(part));
  }
  EXPECT_FALSE(exists("run"));
}

TEST_F(TrainConfig, WhatOnlyTheBaseCanTellIsToldOfAllJobsToo) {
  std::ofstream(dir_ / "broken.jsonl") << "{\"prompt\": \"a\"\n";
  std::ofstream(dir_ / "fields.jsonl") << "{\"question\": \"a\"}\n";
  std::ofstream(dir_ / "latin.jsonl") << "{\"prompt\": \"a\", \"completion\": \"\xe9\"}\n";
  const std::string run_yaml = file(R"(base: seedling
out: run
jobs:
  - {name: a, data: plum.jsonl, targets: [query]}
  - {name: b, data: broken.jsonl}
  - {name: c, data: fields.jsonl}
  - {name: d, data: latin.jsonl}
  - {name: e, data: plum.jsonl, eval_rows: 16}
)");
  const Finished run = run_program("train " + run_yaml);
  EXPECT_EQ(run.status, 2);
  for (const char* part : {"5 problems", "run.yaml:4: a: ", "run.yaml:5: ", "broken.jsonl:1", "run.yaml:6: ", "fields.jsonl:1", "run.yaml:7: ",
                           "latin.jsonl:1", "run.yaml:8: ", "16"}) {
    EXPECT_THAT(run.error, HasSubstr(part));
  }
  EXPECT_FALSE(exists("run"));
}

// Each: the file (after "out" and a good job), further flags, and what must be said.
TEST_F(TrainConfig, BadConfigurationsNameFileLineAndKey) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"learning_rte: 1e-3", "", "run.yaml:3: unknown key \"learning_rte\"; did you mean \"learning_rate\"?"},
      {"rank: 0", "", "rank 0 is not in 1"},
      {"rank: big", "", "run.yaml:3: rank: expected a whole number, found \"big\""},
      {"rank: 4\nrank: 8", "", "run.yaml:4: the key \"rank\" stands twice (first at run.yaml:3)"},
      {"learning_rate: .nan", "", "finite"},
      {"kind: [lora", "", "not valid YAML"},
      {"batch: 8", "--set jobs.0.rank=3", "there are no jobs"},
      {"batch: 8", "--set rnk=3", "did you mean \"rank\"?"},
      {"batch: 8", "--lr fast", "--learning-rate: learning_rate: expected a number, found \"fast\""},
      {"seed: [1, 2]\nsweep: {arms_max: 1}", "", "the sweep has 2 arms, more than arms_max 1"},
  };
  for (const auto& [line, flags, expected] : cases) {
    const std::string run_yaml = file(std::string("out: run\ndata: plum.jsonl\n") + line + "\n");
    const Finished run = run_program("train " + run_yaml + " " + flags);
    EXPECT_EQ(run.status, 2) << line;
    // The folder of the test is in every message.
    std::string error = run.error;
    for (size_t at; (at = error.find(dir_.string() + "/")) != std::string::npos;) error.erase(at, dir_.string().size() + 1);
    EXPECT_THAT(error, HasSubstr(expected)) << line;
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  }
  EXPECT_THAT(run_program("train no_such.yaml").error, HasSubstr("no_such.yaml"));
  EXPECT_THAT(run_program("train").error, HasSubstr("out is missing"));
  EXPECT_FALSE(exists("run"));
}

TEST_F(TrainConfig, ThePlanTellsMemoryAndTimeAndMakesNothing) {
  const std::string run_yaml = file("dtype: f32\nout: run\ndata: plum.jsonl\nbatch: 4\n");
  const Finished run = run_program("train --plan --json " + run_yaml);
  ASSERT_EQ(run.status, 0) << run.error;
  const Json plan = Json::parse(run.out);
  EXPECT_GT(plan["total_bytes"].get<int64_t>(), plan["weights_bytes"].get<int64_t>());
  EXPECT_GT(plan["expected_seconds"].get<double>(), 0);
  EXPECT_EQ(plan["probe_steps"], 10);
  EXPECT_THAT(run_program("train --plan " + run_yaml).out, HasSubstr("expected time"));
  EXPECT_FALSE(exists("run"));
  const Json less = Json::parse(run_program("train --plan --json --recompute " + run_yaml).out);
  EXPECT_LT(less["activations_bytes"].get<int64_t>(), plan["activations_bytes"].get<int64_t>());
}

TEST_F(TrainConfig, ThePlannedMemoryIsWhatHappens) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer's own memory is not planned";
  const std::string data = (testing::project_dir() / "assets/tasks/desk.train.jsonl").string();
  for (const std::string more : {"kind: lora\nall_linear: true\n", "kind: flora\nrank: 3\nrecompute: true\n", "kind: lora\npass_rows: 256\n"}) {
    const std::string yaml = file("dtype: f32\nout: planned\nepochs: 1\nbatch: 48\ndata: " + data + "\n" + more);
    const Finished planned = run_program("train --plan --json " + yaml);
    ASSERT_EQ(planned.status, 0) << planned.error;
    const Finished done = run_program("train --json " + yaml);
    ASSERT_EQ(done.status, 0) << done.error;
    const double expected = Json::parse(planned.out)["total_bytes"], happened = Json::parse(done.out)["peak_bytes"];
    EXPECT_NEAR(expected, happened, 0.1 * happened) << more;
    std::filesystem::remove_all(dir_ / "planned");
  }
}

// The program in the background, its messages in a file.
class Background {
 public:
  Background(const std::vector<std::string>& arguments, const Path& messages) {
    child_ = fork();
    if (child_ != 0) return;
    if (freopen(messages.c_str(), "w", stderr) == nullptr || freopen("/dev/null", "w", stdout) == nullptr) _exit(126);
    const std::string path = program();
    std::vector<char*> words{const_cast<char*>(path.c_str())};
    for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execv(path.c_str(), words.data());
    _exit(127);
  }
  ~Background() {
    if (child_ > 0) end(SIGKILL);
  }
  void send(int signal) { kill(child_, signal); }
  // Its exit status, after the signal (0 = none).
  int end(int signal) {
    if (signal != 0) kill(child_, signal);
    int raw = 0;
    waitpid(std::exchange(child_, -1), &raw, 0);
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  }

 private:
  pid_t child_ = -1;
};

bool wait_for_text(const Path& file, const std::string& text) {
  for (int tenth = 0; tenth < 300; ++tenth) {
    const auto now = read_file(file);
    if (now.ok() && now->find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

TEST_F(TrainConfig, AnInterruptedRunIsResumedToTheSameBytes) {
  const std::string run_yaml = file(
      "dtype: f32\nthreads: 1\nout: run\ndefaults: {batch: 4, epochs: 12, eval_rows: 4}\n"
      "jobs:\n- {name: plum, data: plum.jsonl}\n- {name: pear, data: pear.jsonl, kind: ia3, lr: 3e-2}\n");
  const std::string whole = (dir_ / "whole").string();
  ASSERT_EQ(run_program("train " + run_yaml + " --out " + whole).status, 0);
  Background part({"train", run_yaml}, dir_ / "messages");
  ASSERT_TRUE(wait_for_text(dir_ / "messages", "step 6/36"));
  EXPECT_EQ(part.end(SIGINT), 130);
  const std::string messages = read_file(dir_ / "messages").value();
  EXPECT_THAT(messages, HasSubstr("stopping after this step"));
  EXPECT_THAT(messages, HasSubstr("train " + run_yaml + " --resume"));
  EXPECT_FALSE(exists("run/plum/adapter_config.json"));
  EXPECT_THAT(run_program("train " + run_yaml).error, HasSubstr("--resume"));  // not begun anew in passing
  const Finished rest = run_program("train --resume --json " + run_yaml);
  ASSERT_EQ(rest.status, 0) << rest.error;
  for (const char* name : {"plum", "pear"}) {
    const std::string tensors = std::string(name) + "/adapter_model.safetensors";
    EXPECT_EQ(read_file(dir_ / "run" / tensors).value(), read_file(dir_ / "whole" / tensors).value()) << name;
  }
}

TEST_F(TrainConfig, ASecondInterruptLeavesAtOnce) {
  const std::string run_yaml = file("dtype: f32\nthreads: 1\nout: run\ndata: plum.jsonl\nbatch: 16\nepochs: 100000\n");
  Background run({"train", run_yaml}, dir_ / "messages");
  ASSERT_TRUE(wait_for_text(dir_ / "messages", "step 1/"));
  run.send(SIGINT);
  EXPECT_EQ(run.end(SIGINT), 130);
}

TEST_F(TrainConfig, AFailedJobIsToldAndTheOthersAreWritten) {
  const std::string run_yaml = file(
      "dtype: f32\nout: run\ndefaults: {data: plum.jsonl, batch: 8, epochs: 10}\n"
      "jobs:\n- {name: wild, lr: 1e30, clip: 0}\n- {name: calm}\n");
  const Finished run = run_program("train --json " + run_yaml);
  EXPECT_EQ(run.status, 2);
  const Json jobs = Json::parse(run.out)["jobs"];
  EXPECT_EQ(jobs[0]["end"], "failed");
  EXPECT_EQ(jobs[0]["written"], false);
  EXPECT_THAT(jobs[0]["error"].get<std::string>(), HasSubstr("wild"));
  EXPECT_EQ(jobs[1]["end"], "finished");
  EXPECT_THAT(run.error, HasSubstr("1 of 2 jobs failed"));
  EXPECT_TRUE(exists("run/calm/adapter_config.json"));
  EXPECT_FALSE(exists("run/wild/adapter_config.json"));
}

TEST_F(TrainConfig, ConfigHelpListsTheKeys) {
  const Finished text = run_program("train --config-help");
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("learning_rate (lr)"));
  EXPECT_THAT(text.out, HasSubstr("halve_at"));
  EXPECT_THAT(run_program("train --config-help=markdown").out, HasSubstr("| `rank` | whole number | `8` |"));
  EXPECT_THAT(run_program("train --help").out, HasSubstr("--learning-rate,--lr"));
}

}  // namespace
}  // namespace umbel::testing
