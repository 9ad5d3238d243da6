// The scorers that run what a model wrote: SQL and programs.
#include <gtest/gtest.h>

#include "eval/programs/sandbox.h"
#include "eval/scorers/pass_at_k.h"
#include "eval/scorers/registry.h"

namespace umbel::eval {
namespace {

constexpr const char* kSetup = "CREATE TABLE t(name TEXT, n INT); INSERT INTO t VALUES ('a', 1), ('b', 2), ('b', 2), ('c', 3.0);";

double sql(const OrderedJson& prediction, const OrderedJson& reference) {
  const std::vector<ScoredRow> rows = {{.prediction = prediction, .reference = reference, .place = "row"}};
  return (*make_scorer("sql", {{"setup", kSetup}}).value()).score(rows).value().mean;
}

TEST(SqlScorer, EqualResultsAreRightWhateverTheWords) {
  EXPECT_EQ(sql("SELECT name FROM t WHERE n = 2", "select name from t where n > 1 and n < 3"), 1);
  EXPECT_EQ(sql("```sql\nSELECT name FROM t WHERE n = 2;\n```", "select name from t where n = 2"), 1);
  EXPECT_EQ(sql("SELECT n FROM t ORDER BY n DESC", "SELECT n FROM t"), 1);
  EXPECT_EQ(sql("SELECT n FROM t ORDER BY n DESC", "SELECT n FROM t ORDER  BY n"), 0);
  EXPECT_EQ(sql("SELECT DISTINCT name FROM t", "SELECT name FROM t"), 0);  // repetitions count
  EXPECT_EQ(sql("SELECT '2'", "SELECT 2"), 0);
  EXPECT_EQ(sql("SELECT 2.0", "SELECT 2"), 1);
  EXPECT_EQ(sql("SELECT NULL", "SELECT ''"), 0);
  EXPECT_EQ(sql("SELECT 'ab', 'c'", "SELECT 'a', 'bc'"), 0);
  EXPECT_EQ(sql("SELECT 5", OrderedJson{"SELECT 4", "SELECT 5"}), 1);
}

TEST(SqlScorer, AnAnswerCanOnlyRead) {
  for (const char* answer : {"DELETE FROM t", "DROP TABLE t", "ATTACH '/etc/passwd' AS x", "PRAGMA writable_schema = 1", "SELECT 1; DELETE FROM t", "INSERT INTO t VALUES ('x', 1)",
                             "SELECT load_extension('x')", "VACUUM INTO '/tmp/x'", "CREATE TEMP TABLE x(a)", "nonsense", "", "BEGIN", "SELECT * FROM sqlite_dbpage",
                             "SELECT writefile('/tmp/x', 'y')", "SELECT readfile('/etc/passwd')", "EXPLAIN SELECT 4"}) {
    EXPECT_EQ(sql(answer, "SELECT count(*) FROM t"), 0) << answer;
  }
  EXPECT_EQ(sql("SELECT 4", "SELECT count(*) FROM t"), 1);
}

TEST(SqlScorer, AnAnswerWithoutEndEnds) {
  EXPECT_EQ(sql("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", "SELECT 1"), 0);
  EXPECT_EQ(sql("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", "SELECT 1"), 0);
  EXPECT_EQ(sql("SELECT hex(zeroblob(900000000))", "SELECT 1"), 0);
  EXPECT_EQ(sql("SELECT " + std::string(100'000, '('), "SELECT 1"), 0);
}

TEST(SqlScorer, WhatTheRowGetsWrongIsSaid) {
  const auto status = [](const OrderedJson& options, const OrderedJson& reference) {
    const std::vector<ScoredRow> rows = {{.prediction = "SELECT 1", .reference = reference, .place = "rows.jsonl:4"}};
    return (*make_scorer("sql", options).value()).score(rows).status().message();
  };
  EXPECT_NE(status(nullptr, "SELECT 1").find("rows.jsonl:4: field \"setup\""), std::string::npos);
  EXPECT_NE(status({{"setup", "CREATE TABEL"}}, "SELECT 1").find("syntax error"), std::string::npos);
  EXPECT_NE(status({{"setup", kSetup}}, "SELECT z FROM t").find("no such column"), std::string::npos);
  EXPECT_NE(status({{"setup", "ATTACH '/tmp/x' AS y"}}, "SELECT 1").find("setup"), std::string::npos);
}

TEST(PassAtK, TheEstimateIsThatOfItsDefinition) {
  EXPECT_DOUBLE_EQ(pass_at_k(1, 1, 1), 1);
  EXPECT_DOUBLE_EQ(pass_at_k(1, 0, 1), 0);
  EXPECT_NEAR(pass_at_k(10, 3, 1), 0.3, 1e-12);
  EXPECT_NEAR(pass_at_k(10, 3, 5), 1 - 21.0 / 252.0, 1e-12);
  EXPECT_DOUBLE_EQ(pass_at_k(10, 6, 5), 1);
}

TEST(PassAtK, ProgramsScoreByTheirTests) {
  if (const auto sandbox = Sandbox::open(); !sandbox.ok()) GTEST_SKIP() << sandbox.status().message();
  const OrderedJson human = {{"prompt", "def add(a, b):\n"}, {"test", "def check(f):\n    assert f(1, 2) == 3\n"}, {"entry_point", "add"}};
  const OrderedJson mbpp = {{"test_list", {"assert twice(2) == 4", "assert twice(0) == 0"}}, {"test_setup_code", "import math"}};
  const std::vector<ScoredRow> rows = {{.prediction = "    return a + b\n\nprint(1 / 0)", .reference = human, .place = "a"},
                                       {.prediction = {"    return a - b", "    return a + b", "    return b + a", nullptr}, .reference = human, .place = "b"},
                                       {.prediction = "def twice(x):\n    return x * 2\n", .reference = mbpp, .place = "c"},
                                       {.prediction = nullptr, .reference = mbpp, .place = "d"}};
  const Scores scores = (*make_scorer("humaneval", nullptr).value()).score(rows).value();
  EXPECT_EQ(scores.scores, (std::vector<double>{1, 0.5, 1, 0}));
  EXPECT_EQ(scores.summary["samples"], 6);
  EXPECT_EQ(scores.summary["passed"], 4);
}

TEST(PassAtK, WithoutBubblewrapItIsRefusedByName) {
  const std::vector<ScoredRow> rows = {{.prediction = "x", .reference = "assert True", .place = "a"}};
  const auto scores = (*make_scorer("pass_at_k", {{"bwrap", "/nowhere/bwrap"}}).value()).score(rows);
  ASSERT_FALSE(scores.ok());
  EXPECT_NE(scores.status().message().find("bubblewrap"), std::string::npos);
}

}  // namespace
}  // namespace umbel::eval
