// umbel eval score, run as a user would.
#include <gtest/gtest.h>

#include "io/test_folder.h"
#include "program.h"

namespace umbel {
namespace {

using testing::Finished;
using testing::run_program;

class EvalScore : public ::testing::Test {
 protected:
  Finished score(const std::string& scorer, const std::string& rows, const std::string& more = "--json") {
    std::ofstream(folder_ / "rows.jsonl", std::ios::binary) << rows;
    return run_program("eval score --scorer " + scorer + " " + (folder_ / "rows.jsonl").string() + " " + more);
  }
  // One line of complaint that has these words, and status 2.
  void expect_refused(const Finished& run, const std::vector<std::string>& words) {
    EXPECT_EQ(run.status, 2) << run.out;
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(std::count(run.error.begin(), run.error.end(), '\n'), 1) << run.error;
    for (const std::string& word : words) EXPECT_NE(run.error.find(word), std::string::npos) << word << " in " << run.error;
  }

  TestFolder folder_;
};

TEST_F(EvalScore, EveryRowHasItsScore) {
  const Finished run = score("accuracy", "{\"prediction\": \"Yes.\", \"reference\": \"yes\"}\n{\"prediction\": null, \"reference\": \"yes\"}\n"
                                         "{\"prediction\": 1, \"reference\": 1.0}\n{\"prediction\": \"b\", \"reference\": [\"a\", \"b\"]}\n");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json report = Json::parse(run.out);
  EXPECT_EQ(report["scores"], Json({1, 0, 1, 1}));
  EXPECT_EQ(report["mean"], 0.75);
  EXPECT_EQ(report["summary"]["unanswered"], 1);
}

TEST_F(EvalScore, RowsMayBeAListOrATable) {
  EXPECT_NE(score("rouge", "[{\"prediction\": \"a b\", \"reference\": \"a c\"}]").out.find("\"scores\":[0.5]"), std::string::npos);
  std::ofstream(folder_ / "rows.csv") << "prediction,reference\n\"a, b\",a b\n,x\n";
  const Finished run = run_program("eval score --scorer rougeL " + (folder_ / "rows.csv").string() + " --json");
  EXPECT_NE(run.out.find("\"scores\":[1.0,0.0]"), std::string::npos) << run.out << run.error;
}

TEST_F(EvalScore, WhatIsWrongIsSaidInOneLine) {
  const std::string good = "{\"prediction\": \"1\", \"reference\": \"1\"}\n";
  expect_refused(score("rogue", good), {"no scorer \"rogue\"", "\"rouge\""});
  expect_refused(score("accuracy", good + "{\"prediction\": \"1\"}\n"), {"rows.jsonl:2", "\"reference\" is missing"});
  expect_refused(score("accuracy", "{\"prediction\": \"1\", \"reference\": null}\n"), {"rows.jsonl:1", "null"});
  expect_refused(score("accuracy", good + "{\"prediction\": \n"), {"rows.jsonl:2"});
  expect_refused(score("accuracy", good + "[1]\n"), {"rows.jsonl:2"});
  expect_refused(score("accuracy", ""), {"holds no rows"});
  expect_refused(score("accuracy", "{\"prediction\": \"1\", \"reference\": []}\n"), {"rows.jsonl:1", "empty list"});
  expect_refused(score("stsb", good + "{\"prediction\": \"1\", \"reference\": \"x\"}\n"), {"rows.jsonl:2", "no number"});
  expect_refused(score("json_fields", good), {"rows.jsonl:1", "JSON"});
  expect_refused(score("class_accuracy", good, "--option clases=a,b"), {"\"clases\"", "\"classes\""});
  expect_refused(score("class_accuracy", good, "--option ignore_case=perhaps"), {"ignore_case", "true or false"});
  expect_refused(score("accuracy", good, "--option x=1"), {"\"x\"", "it has none"});
  expect_refused(score("mae", good, "--option range=5,1"), {"range"});
  expect_refused(score("accuracy", good, "--option novalue"), {"NAME=VALUE"});
  expect_refused(run_program("eval score --scorer accuracy " + (folder_ / "absent.jsonl").string()), {"absent.jsonl"});
}

TEST_F(EvalScore, HostileTextsScoreInTime) {
  // A rule over all characters, on a megabyte of one kind each.
  const std::string long_text(1 << 20, '9');
  for (const char* scorer : {"gsm8k_regex", "mmlu_accuracy", "numeric", "binary_accuracy_flex", "rouge", "exact_match"}) {
    const Finished run = score(scorer, Json{{"prediction", long_text + "-"}, {"reference", "9"}}.dump() + "\n");
    EXPECT_EQ(run.status, 0) << scorer << run.error.substr(0, 200);
  }
  const Finished run = score("json_fields", Json{{"prediction", std::string(100'000, '[')}, {"reference", "[1]"}}.dump() + "\n");
  EXPECT_EQ(Json::parse(run.out)["scores"], Json::array({0.0})) << run.error;
}

}  // namespace
}  // namespace umbel
