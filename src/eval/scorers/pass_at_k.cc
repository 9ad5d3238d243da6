#include "eval/scorers/pass_at_k.h"

#include <algorithm>
#include <map>

#include "eval/programs/sandbox.h"
#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr size_t kReasonsShown = 10;

struct Setting {
  int64_t k = 1;
  SandboxLimits limits;
  std::vector<std::string> stops;
  bool own_stops = false;
  Path bwrap;
};

struct Tests {
  std::string prompt;  // in front of the answer
  std::string behind;  // run behind it
  bool completes = false;  // the answer goes on from the prompt: it ends where another definition begins
};

std::string field_of(const ScoredRow& row, const char* name) {
  for (const OrderedJson* place : {&row.reference, &row.fields}) {
    if (!place->is_object()) continue;
    const auto found = place->find(name);
    if (found == place->end() || found->is_null()) continue;
    if (!found->is_array()) return python_str(*found);
    std::string lines;
    for (const OrderedJson& line : *found) lines += python_str(line) + "\n";
    return lines;
  }
  return "";
}

Result<Tests> tests_of(const ScoredRow& row) {
  Tests tests;
  if (row.reference.is_string()) {
    tests.behind = row.reference.get<std::string>();
    return tests;
  }
  tests.prompt = field_of(row, "prompt");
  const std::string test = field_of(row, "test"), entry_point = field_of(row, "entry_point"), list = field_of(row, "test_list");
  if (!list.empty()) {
    tests.behind = field_of(row, "test_setup_code") + "\n" + list;
  } else if (!test.empty() && !entry_point.empty()) {
    tests.behind = test + "\ncheck(" + entry_point + ")\n";
    tests.completes = !tests.prompt.empty();
  } else {
    return invalid_argument("field \"reference\" needs \"test\" and \"entry_point\", or \"test_list\"");
  }
  return tests;
}

std::string cut_at(std::string text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (!stop.empty()) text.resize(std::min(text.size(), text.find(stop)));
  }
  return text;
}

class PassAtK final : public Scorer {
 public:
  explicit PassAtK(Setting setting) : setting_(std::move(setting)) {}

  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    ASSIGN_OR_RETURN(const Sandbox sandbox, Sandbox::open(setting_.bwrap));
    Scores scores;
    Counts counts;
    for (const ScoredRow& row : rows) {
      const auto value = score_row(sandbox, row, counts);
      if (!value.ok()) return value.status().with_context(row.place);
      scores.scores.push_back(*value);
    }
    scores.mean = mean_of(scores.scores);
    scores.summary = {{"k", setting_.k}, {"samples", counts.samples}, {"passed", counts.passed}, {"out_of_time", counts.out_of_time}};
    std::vector<std::pair<int64_t, std::string>> reasons;
    for (const auto& [reason, count] : counts.reasons) reasons.push_back({-count, reason});
    std::sort(reasons.begin(), reasons.end());
    OrderedJson list = OrderedJson::array();
    for (size_t i = 0; i < std::min(kReasonsShown, reasons.size()); ++i) list.push_back({{"reason", reasons[i].second}, {"samples", -reasons[i].first}});
    scores.summary["failures"] = std::move(list);
    return scores;
  }

 private:
  struct Counts {
    int64_t samples = 0, passed = 0, out_of_time = 0;
    std::map<std::string, int64_t> reasons;
  };

  Result<double> score_row(const Sandbox& sandbox, const ScoredRow& row, Counts& counts) const {
    ASSIGN_OR_RETURN(const Tests tests, tests_of(row));
    if (row.prediction.is_null()) return 0.0;
    std::vector<std::string> answers;
    if (row.prediction.is_array()) {
      for (const OrderedJson& answer : row.prediction) answers.push_back(answer.is_null() ? "" : python_str(answer));
    } else {
      answers.push_back(python_str(row.prediction));
    }
    const auto samples = static_cast<int64_t>(answers.size());
    if (samples < setting_.k) return invalid_argument("field \"prediction\" has " + std::to_string(samples) + " programs; pass@" + std::to_string(setting_.k) + " needs as many as that");
    std::map<std::string, bool> known;  // the same program is run once
    int64_t passed = 0;
    for (std::string& answer : answers) {
      if (setting_.own_stops || tests.completes) answer = cut_at(std::move(answer), setting_.stops);
      const std::string program = tests.prompt + answer + "\n" + tests.behind + "\n";
      const auto [found, is_new] = known.try_emplace(program, false);
      if (is_new) {
        ASSIGN_OR_RETURN(found->second, passes(sandbox, program, counts));
      }
      ++counts.samples;
      passed += found->second ? 1 : 0;
    }
    counts.passed += passed;
    return pass_at_k(samples, passed, setting_.k);
  }

  Result<bool> passes(const Sandbox& sandbox, const std::string& program, Counts& counts) const {
    if (program.size() > kProgramBytesMax) return false;
    ASSIGN_OR_RETURN(const ProgramResult result, sandbox.run(program, setting_.limits));
    if (result.end == ProgramEnd::kPassed) return true;
    counts.out_of_time += result.end == ProgramEnd::kOutOfTime ? 1 : 0;
    ++counts.reasons[result.reason.substr(0, result.reason.find(':'))];
    return false;
  }

  Setting setting_;
};

}  // namespace

double pass_at_k(int64_t samples, int64_t passed, int64_t k) {
  if (samples - passed < k) return 1;
  double none = 1;
  for (int64_t i = samples - passed + 1; i <= samples; ++i) none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

std::unique_ptr<Scorer> pass_scorer(Options& options) {
  Setting setting;
  setting.k = options.integer("k", 1, 1);
  const double wall_s = options.number("wall_s", 3);
  if (!(wall_s > 0 && wall_s <= 600)) options.reject("wall_s", "from above 0 to 600 seconds");
  setting.limits.wall = std::chrono::milliseconds(static_cast<int64_t>(std::clamp(wall_s, 0.001, 600.0) * 1000));
  setting.limits.cpu_s = static_cast<int>(std::clamp(wall_s, 1.0, 600.0)) + 1;
  setting.limits.memory_bytes = static_cast<size_t>(std::min<int64_t>(options.integer("memory_mib", 512, 64), 1 << 20)) << 20;
  const std::vector<std::string> none;
  setting.stops = options.texts("stop", none);
  setting.own_stops = !setting.stops.empty();
  if (!setting.own_stops) setting.stops = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"};
  setting.bwrap = options.text("bwrap", "/usr/bin/bwrap");
  return std::make_unique<PassAtK>(std::move(setting));
}

}  // namespace umbel::eval
