#include "train/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "train/config/config_key.h"
#include "train/config/config_override.h"

namespace umbel::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Result<RunSpec> read(const std::string& text, const std::vector<std::string>& sets = {}) {
  auto root = parse_yaml(text, "run.yaml");
  if (!root.ok()) return root.status();
  ConfigInput input{.root = *root, .folder = "/conf"};
  for (const std::string& set : sets) {
    auto change = parse_override(set);
    if (!change.ok()) return change.status();
    input.overrides.push_back(*change);
  }
  return read_run_spec(input);
}

RunSpec good(const std::string& text, const std::vector<std::string>& sets = {}) {
  auto spec = read(text, sets);
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  return spec.ok() ? *spec : RunSpec{};
}

std::string refusal(const std::string& text, const std::vector<std::string>& sets = {}) {
  const auto spec = read(text, sets);
  return spec.ok() ? "" : spec.status().message();
}

std::vector<std::string> names(const RunSpec& spec) {
  std::vector<std::string> names;
  for (const JobPlan& plan : spec.jobs) names.push_back(plan.job.name);
  return names;
}

constexpr const char* kTwo = R"(base: seedling
out: runs/x
dtype: f32
threads: 2
pass_rows: 512
defaults: {data: d.jsonl, epochs: 2}
jobs:
  - {name: a, rank: 4}
  - name: b
    kind: flora
    lr: 1e-2
    epochs: 5
    data: /abs/e.jsonl
)";

TEST(Config, JobsWithDefaults) {
  const RunSpec spec = good(kTwo);
  EXPECT_EQ(spec.base, "seedling");
  EXPECT_EQ(spec.dtype, "f32");
  EXPECT_EQ(spec.threads, 2);
  EXPECT_EQ(spec.pass_rows, 512);
  EXPECT_EQ(spec.out, "/conf/runs/x");
  ASSERT_THAT(names(spec), ElementsAre("a", "b"));
  const JobPlan &a = spec.jobs[0], &b = spec.jobs[1];
  EXPECT_EQ(a.job.rank, 4);
  EXPECT_EQ(a.job.epochs, 2);
  EXPECT_EQ(a.data, "/conf/d.jsonl");
  EXPECT_EQ(a.out, "/conf/runs/x/a");
  EXPECT_EQ(a.where, "run.yaml:8");
  EXPECT_EQ(a.job.learning_rate, JobSpec{}.learning_rate);
  EXPECT_EQ(b.job.kind, TrainKind::kFlora);
  EXPECT_EQ(b.job.learning_rate, 1e-2);
  EXPECT_EQ(b.job.epochs, 5);
  EXPECT_EQ(b.data, "/abs/e.jsonl");
  EXPECT_TRUE(spec.sweeps.empty());
}

TEST(Config, OneJobAtTheTopLevel) {
  const RunSpec spec = good("base: m\nout: ../adapters/mine/\ndata: x.jsonl\nrank: 2\ntargets: [q_proj, down_proj]\nrank_pattern: {'layers.0': 3}\n");
  ASSERT_THAT(names(spec), ElementsAre("mine"));
  EXPECT_EQ(spec.jobs[0].out, spec.out);
  EXPECT_EQ(spec.jobs[0].job.rank, 2);
  EXPECT_THAT(spec.jobs[0].job.targets, ElementsAre("q_proj", "down_proj"));
  EXPECT_EQ(spec.jobs[0].job.rank_pattern.at("layers.0"), 3);
  EXPECT_EQ(good("{name: n, out: o, data: d}").jobs[0].job.name, "n");
}

TEST(Config, TheBaseIsANameOrAPath) {
  EXPECT_EQ(good("base: seedling\nout: o\ndata: d").base, "seedling");
  EXPECT_EQ(good("base: ../models/m\nout: o\ndata: d").base, "/models/m");
  EXPECT_EQ(good("base: /models/m\nout: o\ndata: d").base, "/models/m");
  EXPECT_EQ(good("out: o\ndata: d", {"base=./m"}).base, "./m");
  EXPECT_EQ(good("data: d", {"out=."}).jobs[0].job.name, std::filesystem::current_path().filename().string());
}

TEST(Config, AnchorsMergeIntoJobs) {
  const RunSpec spec = good(
      "out: r\nx-common: &common {data: d, rank: 4, clip: 0.5}\njobs:\n- {<<: *common, name: a}\n- {<<: *common, name: b, rank: 8}\n");
  EXPECT_EQ(spec.jobs[0].job.rank, 4);
  EXPECT_EQ(spec.jobs[1].job.rank, 8);
  EXPECT_EQ(spec.jobs[1].job.clip, 0.5);
}

// Every key of the table sets something, and reads back its own default.
TEST(Config, EveryKeyIsReachable) {
  for (const ConfigKey& field : config_key_table()) {
    ConfigValues values;
    const std::string type = config_key_type(field);
    const std::string before = config_key_default(field);
    std::string text = "x";
    if (type == "number" || type == "list of numbers") text = "0.125";
    if (type == "whole number" || type == "list of whole numbers") text = "17";
    if (type.starts_with("true")) text = before == "true" ? "no" : "yes";
    if (type.starts_with("one of ")) text = type.substr(type.rfind(' ') + 1);
    if (std::string(field.name) == "spike") text = "9.5";
    YamlPtr node = yaml_of_flag(text, "--x").value();
    if (type.starts_with("map")) node = yaml_of_flag("{p: 3}", "--x").value();
    const Status set = set_config_key(field, values, *node, "");
    EXPECT_TRUE(set.ok()) << field.name << ": " << set.message();
    EXPECT_NE(text, before) << field.name;
    EXPECT_EQ(find_config_key(field.section, field.name), &field);
    if (field.alias[0] != 0) {
      EXPECT_EQ(find_config_key(field.section, field.alias), &field);
    }
  }
}

TEST(Config, ATextInBracesIsATextWhereOneBelongs) {
  const ConfigKey& text = *find_config_key(ConfigSection::kJob, "template");
  EXPECT_TRUE(override_value(text, "{question} so?", "--template").value()->is_scalar());
  EXPECT_FALSE(override_value(text, "[\"{a}\", \"{b}\"]", "--template").value()->is_scalar());  // a sweep
  EXPECT_TRUE(override_value(*find_config_key(ConfigSection::kJob, "rank_pattern"), "{q_proj: 4}", "--rank-pattern").value()->is_map());
  EXPECT_EQ(parse_override("jobs.a.template={question}").value().value->text, "{question}");
}

TEST(Config, WrongTypesAndValuesNameLineKeyAndType) {
  const std::pair<const char*, const char*> cases[] = {
      {"rank: four", "run.yaml:3: rank: expected a whole number, found \"four\""},
      {"rank: 2.5", "run.yaml:3: rank: expected a whole number"},
      {"rank:", "run.yaml:3: rank: expected a whole number, found nothing"},
      {"learning_rate: .inf", "run.yaml:3: learning_rate: expected a finite number"},
      {"learning_rate: '1e-3'", "found the quoted text"},
      {"lr: {a: 1}", "learning_rate: expected a number, found a map"},
      {"keep_best: 1", "keep_best: expected true or false"},
      {"kind: lroa", "did you mean \"lora\"?"},
      {"schedule: cosin", "did you mean \"cosine\"?"},
      {"targets: {a: b}", "targets: expected a list, found a map"},
      {"layers: [1, x]", "layers: expected a whole number, found \"x\""},
      {"layers: [-1]", "layers: -1 is below 0"},
      {"rank_pattern: [1]", "rank_pattern: expected a map"},
      {"rank_pattern: {q: x}", "rank_pattern: \"q\": expected a whole number"},
      {"length_max: 1", "length_max: 1 is below 2"},
      {"eval_rows: -3", "eval_rows: -3 is below 0"},
      {"seed: -1", "seed: expected a whole number that is not negative"},
      {"batch: 0", "batch: 0 is below 1"},
      {"rank: 0", "run.yaml:1: n: rank 0 is not in 1"},
      {"{a: 1}: 2", "a key is a word"},
      {"eval_data: e\neval_rows: 3", "give one"},
      {"patience: 3", "run.yaml:1: n: patience needs eval_data or eval_rows"},
  };
  for (const auto& [line, expected] : cases) EXPECT_THAT(refusal(std::string("name: n\nout: o\n") + line + "\ndata: d\n"), HasSubstr(expected)) << line;
}

TEST(Config, UnknownKeysNameTheNearest) {
  EXPECT_THAT(refusal("out: o\ndata: d\nlearning_rte: 1\n"), HasSubstr("run.yaml:3: unknown key \"learning_rte\"; did you mean \"learning_rate\"?"));
  EXPECT_THAT(refusal("out: o\njobs:\n- {name: a, data: d}\n- {name: b, data: d,\n   evry: 1, eval_evry: 2}\n"),
              HasSubstr("run.yaml:5: unknown key \"eval_evry\"; did you mean \"eval_every\"?"));
  EXPECT_THAT(refusal("out: o\ndata: d\nfrobnicate: 1\n"), HasSubstr("--config-help"));
  EXPECT_THAT(refusal("out: o\njob: []\n"), HasSubstr("did you mean \"jobs\"?"));
  EXPECT_THAT(refusal("out: o\nrank: 3\njobs: [{name: a, data: d}]\n"), HasSubstr("run.yaml:2: the key \"rank\" belongs in a job or in \"defaults\""));
  EXPECT_THAT(refusal("out: o\njobs: [{name: a, data: d, base: m}]\n"), HasSubstr("\"base\" belongs at the top level"));
  EXPECT_THAT(refusal("out: o\njobs: [{name: a, data: d, halve_at: [0.5]}]\n"), HasSubstr("belongs under \"sweep\""));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: [1, 2]\nsweep: {randm: 3}\n"), HasSubstr("did you mean \"random\"?"));
  EXPECT_THAT(refusal("out: o\ndata: d\nlr: 1\nlearning_rate: 2\n"), HasSubstr("run.yaml:4: \"learning_rate\" and \"lr\" (run.yaml:3) are the same key"));
}

TEST(Config, AllProblemsAtOnce) {
  const std::string all = refusal("jobs:\n- {name: a, rank: 0, data: d}\n- {name: a, dat: d, lr: x}\n- 3\n");
  for (const char* part : {"out is missing", "run.yaml:2: a: rank 0", "run.yaml:3: unknown key \"dat\"", "learning_rate: expected a number",
                           "run.yaml:3: a: data is missing", "the name \"a\" stands twice (first at run.yaml:2)", "run.yaml:4: a job is a map"}) {
    EXPECT_THAT(all, HasSubstr(part));
  }
  EXPECT_THAT(all, HasSubstr("7 problems"));
}

TEST(Config, ShapesThatAreNone) {
  EXPECT_THAT(refusal("[1]"), HasSubstr("a configuration is a map of keys, not a list"));
  EXPECT_THAT(refusal(""), HasSubstr("out is missing"));
  EXPECT_THAT(refusal("out: o\njobs: []"), HasSubstr("at least one job"));
  EXPECT_THAT(refusal("out: o\njobs: {a: 1}"), HasSubstr("at least one job"));
  EXPECT_THAT(refusal("out: o\ndefaults: 3\njobs: [{name: a, data: d}]"), HasSubstr("defaults: expected a map"));
  EXPECT_THAT(refusal("out: o\ndefaults: {name: x}\njobs: [{data: d}]"), HasSubstr("name belongs to each job"));
  EXPECT_THAT(refusal("out: o\njobs: [{data: d}]"), HasSubstr("the job has no name"));
  EXPECT_THAT(refusal("out: o\njobs: [{name: a/b, data: d}]"), HasSubstr("run.yaml:2: the name \"a/b\": "));
  EXPECT_THAT(refusal("out: o\njobs: [{name: a, data: d, out: x}, {name: b, data: d, out: ./x}]"), HasSubstr("is a's already"));
}

TEST(Config, ListsAreASweep) {
  const RunSpec spec = good("out: o\ndata: d\nname: s\nlr: [1e-3, 3e-3]\nrank: [4, 8]\nkind: [lora, flora]\nseed: 3\nsweep: {halve_at: [0.5]}\n");
  ASSERT_EQ(spec.jobs.size(), 8u);
  EXPECT_EQ(spec.jobs[0].job.name, "s-lr0.001-r4-lora");
  EXPECT_EQ(spec.jobs[1].job.name, "s-lr0.001-r4-flora");
  EXPECT_EQ(spec.jobs[7].job.name, "s-lr0.003-r8-flora");
  EXPECT_EQ(spec.jobs[7].job.kind, TrainKind::kFlora);
  EXPECT_EQ(spec.jobs[7].job.learning_rate, 3e-3);
  EXPECT_EQ(spec.jobs[7].job.seed, 3u);
  EXPECT_EQ(spec.jobs[7].sweep, "s");
  EXPECT_EQ(spec.jobs[7].out, "/conf/o/s-lr0.003-r8-flora");
  ASSERT_EQ(spec.sweeps.size(), 1u);
  EXPECT_EQ(spec.sweeps[0].name, "s");
  EXPECT_THAT(spec.sweeps[0].halve_at, ElementsAre(0.5));
  EXPECT_EQ(spec.sweeps[0].out, "/conf/o/s") << "the winner has its job's name";
  EXPECT_EQ(spec.sweeps[0].keep, SweepKeep::kWinner);
  EXPECT_EQ(good("out: o\ndata: d\nname: s\nlr: [1e-3, 3e-3]\nsweep: {keep: all}\n").sweeps[0].keep, SweepKeep::kAll);
  EXPECT_THAT(refusal("out: o\njobs: [{name: s, data: d, lr: [1, 2]}, {name: t, data: d, out: o/s}]"), HasSubstr("a sweep's winner"));
  EXPECT_THAT(refusal("out: o\njobs: [{name: s, data: d, lr: [1, 2]}, {name: s, data: d, out: p}]"), HasSubstr("a sweep's winner"));
}

TEST(Config, BestByIsLossOrExactMatch) {
  EXPECT_EQ(good("out: o\ndata: d\nbest_by: exact_match\neval_rows: 5\n").jobs[0].life.best_by, BestBy::kExactMatch);
  EXPECT_EQ(good("out: o\ndata: d\n").jobs[0].life.best_by, BestBy::kLoss);
  EXPECT_THAT(refusal("out: o\ndata: d\nbest_by: exact_match\n"), HasSubstr("needs eval_data or eval_rows"));
  EXPECT_THAT(refusal("out: o\ndata: d\nbest_by: accuracy\n"), HasSubstr("exact_match"));
  EXPECT_THAT(good("out: o\ndata: d.tsv\ncolumns: [id, label, text]\n").jobs[0].dataset.columns, ElementsAre("id", "label", "text"));
  EXPECT_THAT(good("out: o\ndata: d.tsv\n", {"columns=id,label,text"}).jobs[0].dataset.columns, ElementsAre("id", "label", "text"));
}

TEST(Config, ListsOfListsSweepOverListFields) {
  const RunSpec spec = good("out: o\njobs: [{name: s, data: [x/a.jsonl, b.jsonl], targets: [[q_proj], [q_proj, v_proj]]}]");
  EXPECT_THAT(names(spec), ElementsAre("s-a-q_proj", "s-a-q_proj+v_proj", "s-b-q_proj", "s-b-q_proj+v_proj"));
  EXPECT_EQ(spec.jobs[0].data, "/conf/x/a.jsonl");
  EXPECT_THAT(spec.jobs[3].job.targets, ElementsAre("q_proj", "v_proj"));
  EXPECT_THAT(spec.sweeps[0].halve_at, ElementsAre(0.25, 0.5));
}

TEST(Config, ArmsOfMapsAndLongValuesHaveNamesOfTheirOwn) {
  EXPECT_THAT(names(good("out: o\ndata: d\nrank_pattern: [{q_proj: 4}, {q_proj: 8, v_proj: 2}]")), ElementsAre("o-q_proj=4", "o-q_proj=8+v_proj=2"));
  const std::string all = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj";
  const auto arms = names(good("out: o\ndata: d\ntargets: [[" + all + "], [" + all + ", down_proj]]"));
  ASSERT_EQ(arms.size(), 2u);
  EXPECT_NE(arms[0], arms[1]);
  EXPECT_LE(arms[1].size(), 50u);
}

TEST(Config, SweepsOfDefaultsAndPlainJobsTogether) {
  const RunSpec spec = good("out: o\ndefaults: {data: d, seed: [1, 2], sweep: {halve_at: []}}\njobs: [{name: a}, {name: b, seed: 5, out: p}]");
  EXPECT_THAT(names(spec), ElementsAre("a-s1", "a-s2", "b"));
  EXPECT_EQ(spec.jobs[2].out, "/conf/p");
  ASSERT_EQ(spec.sweeps.size(), 1u);
  EXPECT_TRUE(spec.sweeps[0].halve_at.empty());
}

TEST(Config, RandomArmsAreDistinctAndRepeatable) {
  const std::string text = "out: o\ndata: d\nname: s\nlr: [1, 2, 3, 4, 5]\nrank: [1, 2, 3, 4, 5]\nseed: [1, 2, 3, 4, 5]\nsweep: {random: 20, seed: 7}\n";
  const auto arms = names(good(text));
  EXPECT_EQ(arms.size(), 20u);
  EXPECT_EQ(std::set<std::string>(arms.begin(), arms.end()).size(), 20u);
  EXPECT_EQ(names(good(text)), arms);
  EXPECT_NE(names(good(text, {"sweep.seed=8"})), arms);
  EXPECT_EQ(names(good(text, {"sweep.random=1000"})).size(), 125u);
}

TEST(Config, TooManyArmsAndOtherSweepsThatAreNone) {
  std::string text = "out: o\ndata: d\nname: s\n", list = "[1";
  for (int i = 2; i <= 17; ++i) list += ", " + std::to_string(i);
  text += "rank: " + list + "]\nbatch: " + list + "]\n";
  EXPECT_THAT(refusal(text), HasSubstr("the sweep has 289 arms, more than arms_max 256"));
  EXPECT_EQ(good(text, {"sweep.arms_max=300"}).jobs.size(), 289u);
  EXPECT_EQ(good(text, {"sweep.random=3"}).jobs.size(), 3u);
  for (const char* field : {"epochs", "seed", "alpha", "clip", "eval_every", "patience", "checkpoint_every", "lr", "eval_rows", "warmup", "floor",
                            "dropout", "momentum", "weight_decay", "spike", "vera_d_initial", "flora_init_scale", "lora_plus_ratio"}) {
    text += std::string(field) + ": " + list + "]\n";
  }
  EXPECT_THAT(refusal(text), HasSubstr("boundless"));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: []\n"), HasSubstr("empty list"));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: [4, x]\n"), HasSubstr("run.yaml:3: rank: expected a whole number, found \"x\""));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: [4, 4]\n"), HasSubstr("stands twice among the arms"));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: [4, 0]\n"), HasSubstr("o-r0: rank 0"));
  EXPECT_THAT(refusal("out: o\ndata: d\nsweep: {random: 3}\n"), HasSubstr("no field of the job holds a list"));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: [1, 2]\nsweep: {halve_at: [0.5, 0.2]}\n"), HasSubstr("rising list of shares"));
  EXPECT_THAT(refusal("out: o\ndata: d\nrank: [1, 2]\nsweep: 3\n"), HasSubstr("sweep: expected a map"));
  EXPECT_THAT(refusal("out: [o, p]\ndata: d\n"), HasSubstr("out: expected text, found a list"));
  EXPECT_THAT(refusal("out: o\ndata: d\nname: [a, b]\n"), HasSubstr("name: one text is expected"));
}

TEST(Config, OverridesFromOutside) {
  const RunSpec spec = good(kTwo, {"lr=5e-4", "jobs.0.rank=16", "jobs.b.kind=ia3", "base=other", "out=/elsewhere", "jobs.1.data=e.jsonl"});
  EXPECT_EQ(spec.base, "other");
  EXPECT_EQ(spec.out, "/elsewhere");
  EXPECT_EQ(spec.jobs[0].out, "/elsewhere/a");
  EXPECT_EQ(spec.jobs[0].job.rank, 16);
  EXPECT_EQ(spec.jobs[0].job.learning_rate, 5e-4);
  EXPECT_EQ(spec.jobs[1].job.learning_rate, 5e-4);  // over the file's "lr"
  EXPECT_EQ(spec.jobs[1].job.kind, TrainKind::kIa3);
  EXPECT_EQ(spec.jobs[1].data, "e.jsonl");  // a flag's path starts from the working folder
  const RunSpec defaults = good(kTwo, {"defaults.epochs=7", "jobs.a.seed=[1,2]", "jobs.a.sweep.halve_at=[]"});
  EXPECT_THAT(names(defaults), ElementsAre("a-s1", "a-s2", "b"));
  EXPECT_EQ(defaults.jobs[0].job.epochs, 7);
  EXPECT_EQ(defaults.jobs[2].job.epochs, 5);
  EXPECT_TRUE(defaults.sweeps[0].halve_at.empty());
}

TEST(Config, OverridesThatNameNothing) {
  EXPECT_THAT(refusal(kTwo, {"lrr=5e-4"}), HasSubstr("--set lrr=5e-4: unknown key \"lrr\"; did you mean \"lr\"?"));
  EXPECT_THAT(refusal(kTwo, {"jobs.2.rank=4"}), HasSubstr("there is no job 2; the file has 2"));
  EXPECT_THAT(refusal(kTwo, {"jobs.bb.rank=4"}), HasSubstr("did you mean \"b\"?"));
  EXPECT_THAT(refusal(kTwo, {"jobs.rank=4"}), HasSubstr("jobs.NUMBER.KEY"));
  EXPECT_THAT(refusal(kTwo, {"rank=x"}), HasSubstr("--set rank=x: rank: expected a whole number"));
  EXPECT_THAT(refusal(kTwo, {"rank"}), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(refusal(kTwo, {"lr=[1"}), HasSubstr("--set lr=[1"));
  EXPECT_THAT(refusal("out: o\ndata: d\n", {"jobs.0.rank=3"}), HasSubstr("there are no jobs"));
}

TEST(Config, HelpNamesEveryKeyOnce) {
  const std::string text = config_help_text(), table = config_help_markdown();
  for (const ConfigKey& field : config_key_table()) {
    EXPECT_THAT(text, HasSubstr(std::string("  ") + field.name + " ")) << field.name;
    EXPECT_THAT(table, HasSubstr(std::string("| `") + field.name + "`")) << field.name;
  }
  EXPECT_THAT(text, HasSubstr("default 0.003"));
  EXPECT_THAT(table, Not(HasSubstr("| |  |")));
}

// docs/training.md holds the very tables; "umbel train --config-help=markdown" prints them.
TEST(Config, TheReferenceInTheDocsIsThisTable) {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  const auto docs = read_file(Path(dir != nullptr ? dir : ".") / "docs/training.md");
  ASSERT_TRUE(docs.ok()) << docs.status().message();
  EXPECT_NE(docs->find(config_help_markdown()), std::string::npos) << "docs/training.md does not hold what --config-help=markdown prints";
}

}  // namespace
}  // namespace umbel::train
