// Scorers against what other people's programs say of the same rows (tools/record_scorer_goldens.py).
#include <gtest/gtest.h>

#include "eval/scorers/registry.h"
#include "io/file.h"

namespace umbel::eval {
namespace {

OrderedJson goldens() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return read_ordered_json(Path(dir != nullptr ? dir : ".") / "tests/goldens/scorers.json").value();
}

std::vector<ScoredRow> rows_of(const OrderedJson& pairs) {
  std::vector<ScoredRow> rows;
  for (const OrderedJson& pair : pairs) rows.push_back({.prediction = pair[0], .reference = pair[1], .place = "row " + std::to_string(rows.size())});
  return rows;
}

void expect_same(const OrderedJson& golden, const std::vector<ScoredRow>& rows) {
  const auto name = golden["scorer"].get<std::string>();
  SCOPED_TRACE(name);
  const auto scorer = make_scorer(name, nullptr);
  ASSERT_TRUE(scorer.ok()) << scorer.status().to_string();
  const auto scores = (*scorer)->score(rows);
  ASSERT_TRUE(scores.ok()) << scores.status().to_string();
  ASSERT_EQ(scores->scores.size(), rows.size());
  double sum = 0;
  for (size_t i = 0; i < rows.size() && !golden["scores"].is_null(); ++i) {
    EXPECT_NEAR(scores->scores[i], golden["scores"][i].get<double>(), 2e-6) << rows[i].prediction << " for " << rows[i].reference;
  }
  for (const double score : scores->scores) sum += score;
  EXPECT_NEAR(scores->mean, sum / static_cast<double>(rows.size()), 1e-12);
  for (const auto& [figure, value] : golden["summary"].items()) {
    EXPECT_NEAR(scores->summary.at(figure).get<double>(), value.get<double>(), 1e-9) << figure;
  }
  if (golden.contains("confusion")) {
    EXPECT_EQ(scores->summary.at("confusion"), golden["confusion"]);
  }
}

TEST(ScorerGoldens, TextsScoreAsElsewhere) {
  const OrderedJson all = goldens();
  const auto rows = rows_of(all["pairs"]);
  EXPECT_EQ(all["of_pairs"].size(), 18u);
  for (const OrderedJson& golden : all["of_pairs"]) expect_same(golden, rows);
}

TEST(ScorerGoldens, TagsClassesNumbersAndSeveralReferencesScoreAsElsewhere) {
  const OrderedJson all = goldens();
  for (const OrderedJson& golden : all["others"]) expect_same(golden, rows_of(golden["rows"]));
}

}  // namespace
}  // namespace umbel::eval
