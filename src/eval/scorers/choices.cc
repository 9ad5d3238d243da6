#include "eval/scorers/choices.h"

#include <algorithm>
#include <cmath>

#include "base/utf8.h"

namespace umbel::eval {
namespace {

Result<size_t> right_choice(const ScoredRow& row, const ChoiceAnswer& answer) {
  if (row.reference.is_number_integer()) {
    const auto index = row.reference.get<int64_t>();
    if (index >= 0 && static_cast<size_t>(index) < answer.choices.size()) return static_cast<size_t>(index);
  } else if (row.reference.is_string()) {
    const auto found = std::find(answer.choices.begin(), answer.choices.end(), row.reference.get<std::string>());
    if (found != answer.choices.end()) return static_cast<size_t>(found - answer.choices.begin());
  }
  return invalid_argument("the reference " + row.reference.dump() + " is none of the " + std::to_string(answer.choices.size()) + " choices, nor the place of one (from 0)");
}

class ChoiceScorer final : public RowScorer {
 public:
  explicit ChoiceScorer(ChoiceLength length) : length_(length) {}

 protected:
  Result<double> score_row(const ScoredRow& row) const override {
    const auto answer = read_choice_answer(row.prediction);
    if (!answer.ok()) return 0.0;
    ASSIGN_OR_RETURN(const size_t right, right_choice(row, *answer));
    return best_choice(*answer, length_) == right ? 1.0 : 0.0;
  }
  // How often the first choice is right, and how often each place was taken: who always takes the same is seen there.
  void summarise(std::span<const ScoredRow> rows, std::span<const double> scores, OrderedJson& summary) const override {
    std::vector<int64_t> taken;
    for (const ScoredRow& row : rows) {
      const auto answer = read_choice_answer(row.prediction);
      if (!answer.ok()) continue;
      const size_t best = best_choice(*answer, length_);
      if (taken.size() <= best) taken.resize(best + 1);
      ++taken[best];
    }
    summary["accuracy"] = mean_of(scores);
    summary["taken"] = taken;
  }

 private:
  const ChoiceLength length_;
};

}  // namespace

OrderedJson choice_answer_json(const ChoiceAnswer& answer) { return {{"choices", answer.choices}, {"log_likelihoods", answer.log_likelihoods}}; }

Result<ChoiceAnswer> read_choice_answer(const OrderedJson& json) {
  const Status refused = invalid_argument("an answer of this scorer is {\"choices\": [texts], \"log_likelihoods\": [numbers]}, both of one length");
  if (!json.is_object() || !json.contains("choices") || !json.contains("log_likelihoods")) return refused;
  const OrderedJson& texts = json["choices"];
  const OrderedJson& numbers = json["log_likelihoods"];
  if (!texts.is_array() || !numbers.is_array() || texts.empty() || texts.size() != numbers.size()) return refused;
  ChoiceAnswer answer;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].is_string() || !numbers[i].is_number()) return refused;
    answer.choices.push_back(texts[i].get<std::string>());
    answer.log_likelihoods.push_back(numbers[i].get<double>());
  }
  return answer;
}

size_t best_choice(const ChoiceAnswer& answer, ChoiceLength length) {
  size_t best = 0;
  double most = -INFINITY;
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    const double size = length == ChoiceLength::kPerCharacter ? std::max(1.0, static_cast<double>(utf8_count(answer.choices[i]))) : 1.0;
    const double value = answer.log_likelihoods[i] / size;
    if (value > most) {
      best = i;
      most = value;
    }
  }
  return best;
}

std::unique_ptr<Scorer> choice_scorer(Options& /*options*/) { return std::make_unique<ChoiceScorer>(ChoiceLength::kAny); }
std::unique_ptr<Scorer> choice_norm_scorer(Options& /*options*/) { return std::make_unique<ChoiceScorer>(ChoiceLength::kPerCharacter); }

}  // namespace umbel::eval
