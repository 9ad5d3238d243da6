// What the goldens do not reach: our own scorers' rules, and the edges where others raise.
#include <gtest/gtest.h>

#include <cmath>

#include "eval/scorers/entities.h"
#include "eval/scorers/numbers.h"
#include "eval/scorers/registry.h"
#include "eval/scorers/rouge.h"
#include "eval/text/python_text.h"
#include "base/random.h"

namespace umbel::eval {
namespace {

Scores scores_of(const std::string& scorer, std::vector<std::pair<OrderedJson, OrderedJson>> pairs, const OrderedJson& options = nullptr) {
  std::vector<ScoredRow> rows;
  for (auto& [prediction, reference] : pairs) rows.push_back({.prediction = prediction, .reference = reference, .place = "row"});
  return (*make_scorer(scorer, options).value()).score(rows).value();
}
std::vector<double> values(const std::string& scorer, std::vector<std::pair<OrderedJson, OrderedJson>> pairs, const OrderedJson& options = nullptr) {
  return scores_of(scorer, std::move(pairs), options).scores;
}
using V = std::vector<double>;

TEST(Scorers, AnAbsentAnswerIsWorthNothing) {
  for (const ScorerEntry& entry : scorer_entries()) {
    const std::string name = entry.name;
    if (entry.better == Better::kLower || name == "sql" || name == "humaneval" || name == "pass_at_k") continue;  // they have tests of their own
    const OrderedJson reference = name == "json_fields" ? OrderedJson{{"a", 1}} : name == "entity_f1" ? OrderedJson{"O"} : "1";
    EXPECT_EQ(values(entry.name, {{nullptr, reference}}), V{0}) << entry.name;
    EXPECT_EQ(scores_of(entry.name, {}).mean, 0) << entry.name;
  }
}

TEST(Scorers, PublishedRulesTakeValuesAsPythonPrintsThem) {
  EXPECT_EQ(values("accuracy", {{true, "True"}, {1, "1"}, {1, "1.0"}, {2.5, 2.5}, {nullptr, "None"}, {OrderedJson{"a", 1}, "['a', 1]"}}), (V{1, 1, 1, 1, 0, 1}));
  EXPECT_EQ(values("dbpedia", {{5, "MeanOfTransportation"}, {99, "Film"}, {"x", "x"}}), (V{1, 0, 1}));
  EXPECT_EQ(values("dbpedia", {{1, "two"}}, {{"classes", {"one", "two"}}}), V{1});
  EXPECT_EQ(values("stsb", {{"7", "2"}, {"nan", "2"}, {"", "2"}}), (V{0, 0, 0}));
  EXPECT_DOUBLE_EQ(values("stsb", {{"-4", "5"}})[0], 1 - 9.0 / 5);
}

TEST(Scorers, FieldsOfJsonCountOneByOne) {
  const OrderedJson wanted = {{"a", 1}, {"b", {{"c", "x"}, {"d", OrderedJson::array()}}}};
  EXPECT_EQ(values("json_fields", {{R"({"a": 1.0, "b": {"c": "x", "d": []}})", wanted}, {R"({"a": 1, "b": {"c": "X"}, "z": 0})", wanted}, {"no", wanted}, {"", wanted}}),
            (V{1, 1.0 / 3, 0, 0}));
  const Scores scores = scores_of("json_fields", {{R"(Sure: {"a": 1, "z": 0} done)", R"({"a": 1})"}}, {{"extract", true}});
  EXPECT_EQ(scores.scores, V{1});
  EXPECT_EQ(scores.summary["invented"], 1);
  EXPECT_EQ(scores.summary["exact"], 0.0);
  EXPECT_EQ(values("json_fields", {{R"({"a": "X"})", R"({"a": "x"})"}}, {{"ignore_case", true}}), V{1});
}

TEST(Scorers, EntitiesOfJsonCountByKindAndText) {
  const Scores scores = scores_of("entity_f1", {{R"({"disease": ["TLS", "TLS"], "drug": []})", R"({"disease": ["TLS", "flu"]})"}, {"{}", "{}"}, {"none", R"({"disease": ["a"]})"}});
  EXPECT_EQ(scores.scores, (V{0.5, 1, 0}));
  EXPECT_DOUBLE_EQ(scores.summary["f1"].get<double>(), 0.4);
  EXPECT_EQ(scores.summary["unreadable"], 1);
  EXPECT_EQ(values("entity_f1", {{"B-X I-X O", "B-X I-X O"}, {"what is it", "B-X O"}}), (V{1, 0}));
}

TEST(Scorers, NumbersAreFoundInText) {
  EXPECT_EQ(number_in("it is 1,234.5 or -3e2.", Take::kFirst), 1234.5);
  EXPECT_EQ(number_in("it is 1,234.5 or -3e2.", Take::kLast), -300);
  EXPECT_EQ(number_in("10-3", Take::kLast), 3);
  EXPECT_EQ(number_in("-$5", Take::kLast), -5);
  EXPECT_EQ(number_in("12 apples", Take::kWhole), std::nullopt);
  EXPECT_EQ(number_in(" 45% ", Take::kWhole), 45);
  EXPECT_EQ(number_in("none.", Take::kLast), std::nullopt);
  EXPECT_EQ(values("numeric", {{"so 0.5", ".5"}, {"3.1", 3}, {"", 3}}), (V{1, 0, 0}));
  EXPECT_EQ(values("numeric", {{"3.1", 3}}, {{"tolerance", "0.2"}}), V{1});
}

TEST(Scorers, AnAnswerWithoutANumberIsAsWrongAsCanBe) {
  const Scores scores = scores_of("mae", {{"4", "5"}, {"x", "1"}, {nullptr, "5"}}, {{"range", {0, 5}}});
  EXPECT_EQ(scores.scores, (V{1, 4, 5}));
  EXPECT_EQ(scores.summary["unreadable"], 2);
  EXPECT_TRUE(scores.summary["pearson"].is_null());
  EXPECT_EQ(spearman(V{1, 2, 2, 9}, V{3, 4, 4, 5}), 1);
}

TEST(Scorers, AClassBeyondTheListIsAnother) {
  const Scores scores = scores_of("class_accuracy", {{"Yes ", "yes"}, {"perhaps", "no"}, {"no\nbecause", "no"}}, {{"classes", "yes,no"}, {"first_line", true}});
  EXPECT_EQ(scores.scores, (V{1, 0, 1}));
  EXPECT_DOUBLE_EQ(scores.summary["macro_f1"].get<double>(), (1 + 2.0 / 3) / 2);
  EXPECT_EQ(scores.summary["confusion"]["classes"], (OrderedJson{"(other)", "no", "yes"}));
}

TEST(Scorers, TheLongestCommonSubsequenceIsThatOfTheTable) {
  Random draw(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> a(draw.next_below(200)), b(draw.next_below(200));
    for (auto& word : a) word = static_cast<int32_t>(draw.next_below(6));
    for (auto& word : b) word = static_cast<int32_t>(draw.next_below(6));
    std::vector<std::vector<int64_t>> table(a.size() + 1, std::vector<int64_t>(b.size() + 1));
    for (size_t i = 1; i <= a.size(); ++i) {
      for (size_t j = 1; j <= b.size(); ++j) {
        table[i][j] = a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1 : std::max(table[i - 1][j], table[i][j - 1]);
      }
    }
    EXPECT_EQ(longest_common_subsequence(a, b), table[a.size()][b.size()]);
  }
}

TEST(PythonText, PrintsAndReadsNumbersAsPythonDoes) {
  const std::vector<std::pair<double, const char*>> printed = {{1, "1.0"}, {0, "0.0"}, {-0.0, "-0.0"}, {1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1e-4, "0.0001"},
                                                               {1e-5, "1e-05"}, {0.1, "0.1"}, {1e300, "1e+300"}, {5e-324, "5e-324"}, {INFINITY, "inf"}, {1234.5, "1234.5"}};
  for (const auto& [value, text] : printed) EXPECT_EQ(python_repr(value), text);
  for (const char* text : {"", "_1", "1_", "1__0", "0x1", "1e", ".", "+", "--1", "1 2", "e5", "infin"}) EXPECT_EQ(python_float(text), std::nullopt) << text;
  EXPECT_EQ(python_float("1e400"), INFINITY);
  EXPECT_EQ(python_float(" -.5e-1\n"), -0.05);
  EXPECT_EQ(python_int("99999999999999999999"), INT64_MAX);
  EXPECT_EQ(python_int("1.0"), std::nullopt);
  EXPECT_EQ(python_str(OrderedJson{"it's", "\"", nullptr, {{"k", false}}}), "[\"it's\", '\"', None, {'k': False}]");
}

TEST(PythonText, BytesThatAreNoTextAreCharacters) {
  const std::string broken = "a\xff\xfe b\xc3";
  EXPECT_EQ(code_points(broken).size(), 6u);
  EXPECT_EQ(split_blanks(broken).size(), 2u);
  EXPECT_NE(lower_case(broken + "\xc3\x89"), "");
}

}  // namespace
}  // namespace umbel::eval
