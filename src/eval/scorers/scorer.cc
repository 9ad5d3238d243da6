#include "eval/scorers/scorer.h"

#include <algorithm>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

class RuleScorer final : public RowScorer {
 public:
  explicit RuleScorer(CheckedRule rule) : rule_(std::move(rule)) {}

 protected:
  Result<double> score_row(const ScoredRow& row) const override {
    ASSIGN_OR_RETURN(const auto references, references_of(row));
    const std::string prediction = python_str(row.prediction);
    double best = 0;
    for (size_t i = 0; i < references.size(); ++i) {
      ASSIGN_OR_RETURN(const double value, rule_(prediction, references[i]));
      best = i == 0 ? value : std::max(best, value);
    }
    return best;
  }

 private:
  CheckedRule rule_;
};

}  // namespace

Result<Scores> RowScorer::score(std::span<const ScoredRow> rows) const {
  Scores scores;
  scores.scores.reserve(rows.size());
  int64_t unanswered = 0;
  for (const ScoredRow& row : rows) {
    if (row.prediction.is_null()) {
      ++unanswered;
      scores.scores.push_back(0);
      continue;
    }
    const auto value = score_row(row);
    if (!value.ok()) return value.status().with_context(row.place);
    scores.scores.push_back(*value);
  }
  scores.mean = mean_of(scores.scores);
  if (unanswered > 0) scores.summary["unanswered"] = unanswered;
  summarise(rows, scores.scores, scores.summary);
  return scores;
}

Result<std::vector<std::string>> references_of(const ScoredRow& row) {
  std::vector<std::string> texts;
  if (!row.reference.is_array()) return std::vector{python_str(row.reference)};
  for (const OrderedJson& reference : row.reference) texts.push_back(python_str(reference));
  if (texts.empty()) return invalid_argument("field \"reference\" is an empty list");
  return texts;
}

std::unique_ptr<Scorer> scorer_of(CheckedRule rule) { return std::make_unique<RuleScorer>(std::move(rule)); }

std::unique_ptr<Scorer> scorer_of(TextRule rule) {
  return scorer_of(CheckedRule([rule](const std::string& prediction, const std::string& reference) -> Result<double> {
    return rule(prediction, reference);
  }));
}

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

}  // namespace umbel::eval
