#include "eval/scorers/classes.h"

#include <algorithm>
#include <map>
#include <set>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr const char* kOther = "(other)";
constexpr size_t kPairsShown = 50;

struct ClassOptions {
  std::vector<std::string> classes;  // in normal form
  bool ignore_case = true;
  bool first_line = false;
};

using Pair = std::pair<std::string, std::string>;  // reference, answer

// F1 of every class that counts.
double macro_f1(const std::map<Pair, int64_t>& pairs, const std::set<std::string>& classes) {
  std::map<std::string, int64_t> right, either;
  for (const auto& [pair, count] : pairs) {
    either[pair.first] += count;
    either[pair.second] += count;
    if (pair.first == pair.second) right[pair.first] += count;
  }
  double sum = 0;
  for (const std::string& name : classes) {
    const auto all = either[name];
    sum += all > 0 ? 2.0 * static_cast<double>(right[name]) / static_cast<double>(all) : 0;
  }
  return classes.empty() ? 0 : sum / static_cast<double>(classes.size());
}

OrderedJson confusion_of(const std::map<Pair, int64_t>& pairs, const std::set<std::string>& classes) {
  if (classes.size() <= kConfusionClassesMax) {
    const std::vector<std::string> names(classes.begin(), classes.end());
    const auto place = [&](const std::string& name) {
      return static_cast<size_t>(std::lower_bound(names.begin(), names.end(), name) - names.begin());
    };
    std::vector<std::vector<int64_t>> table(names.size(), std::vector<int64_t>(names.size()));
    for (const auto& [pair, count] : pairs) table[place(pair.first)][place(pair.second)] = count;
    return {{"classes", names}, {"rows", table}};
  }
  std::vector<std::pair<int64_t, Pair>> wrong;
  for (const auto& [pair, count] : pairs) {
    if (pair.first != pair.second) wrong.push_back({-count, pair});
  }
  std::sort(wrong.begin(), wrong.end());
  OrderedJson list = OrderedJson::array();
  for (size_t i = 0; i < std::min(kPairsShown, wrong.size()); ++i) {
    list.push_back({{"reference", wrong[i].second.first}, {"answer", wrong[i].second.second}, {"rows", -wrong[i].first}});
  }
  return {{"most_confused", list}};
}

OrderedJson most_frequent(const std::map<std::string, int64_t>& counts, size_t rows) {
  const auto most = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == counts.end()) return nullptr;
  return {{"class", most->first}, {"share", static_cast<double>(most->second) / static_cast<double>(rows)}};
}

class ClassAccuracy final : public Scorer {
 public:
  explicit ClassAccuracy(ClassOptions options) : options_(std::move(options)) {}

  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    Scores scores;
    std::map<Pair, int64_t> pairs;
    std::map<std::string, int64_t> wanted, answered;
    int64_t unanswered = 0;
    for (const ScoredRow& row : rows) {
      const auto references = references_of(row);
      if (!references.ok()) return references.status().with_context(row.place);
      std::string answer = row.prediction.is_null() ? kOther : class_of(python_str(row.prediction));
      unanswered += row.prediction.is_null() ? 1 : 0;
      std::string reference = class_of(references->front());
      for (const std::string& other : *references) {
        if (class_of(other) == answer) reference = answer;
      }
      scores.scores.push_back(!row.prediction.is_null() && answer == reference ? 1 : 0);
      ++wanted[reference];
      ++answered[answer];
      ++pairs[{std::move(reference), std::move(answer)}];
    }
    scores.mean = mean_of(scores.scores);
    if (unanswered > 0) scores.summary["unanswered"] = unanswered;
    std::set<std::string> all, counted(options_.classes.begin(), options_.classes.end());
    for (const auto& [pair, count] : pairs) all.insert({pair.first, pair.second});
    scores.summary["accuracy"] = scores.mean;
    scores.summary["macro_f1"] = macro_f1(pairs, counted.empty() ? all : counted);
    scores.summary["majority"] = most_frequent(wanted, rows.size());
    scores.summary["most_answered"] = most_frequent(answered, rows.size());
    scores.summary["confusion"] = confusion_of(pairs, all);
    return scores;
  }

  std::string normal_form(const std::string& text) const {
    std::string_view part = strip_blanks(text);
    if (options_.first_line) part = strip_blanks(part.substr(0, part.find('\n')));
    return options_.ignore_case ? lower_case(part) : std::string(part);
  }

 private:
  std::string class_of(const std::string& text) const {
    std::string form = normal_form(text);
    const auto& classes = options_.classes;
    if (!classes.empty() && std::find(classes.begin(), classes.end(), form) == classes.end()) return kOther;
    return form;
  }

  ClassOptions options_;
};

}  // namespace

std::unique_ptr<Scorer> class_scorer(Options& options) {
  ClassOptions read;
  read.ignore_case = options.flag("ignore_case", true);
  read.first_line = options.flag("first_line", false);
  const ClassAccuracy plain(read);
  for (const std::string& name : options.texts("classes", {})) read.classes.push_back(plain.normal_form(name));
  return std::make_unique<ClassAccuracy>(std::move(read));
}

}  // namespace umbel::eval
