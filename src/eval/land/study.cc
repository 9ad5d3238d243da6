#include "eval/land/study.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "data/row_source.h"
#include "eval/scorers/numbers.h"
#include "eval/scorers/scorer.h"
#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr double kHalfDigit = 0.0005;  // scores are printed with three digits
constexpr size_t kRowsMax = 100'000;

using Row = OrderedJson;

Result<std::string> text_of(const Row& row, const char* column) {
  const auto found = row.find(column);
  if (found == row.end() || !found->is_string()) return invalid_argument(std::string("column \"") + column + "\" is missing");
  return found->get<std::string>();
}

Result<double> number_of(const Row& row, const char* column) {
  ASSIGN_OR_RETURN(const std::string text, text_of(row, column));
  const auto value = python_float(text);
  if (!value || !std::isfinite(*value)) return invalid_argument(std::string("column \"") + column + "\" is no number: \"" + text + "\"");
  return *value;
}

Result<StudyTask> task_of(const Row& row) {
  StudyTask task;
  ASSIGN_OR_RETURN(task.name, text_of(row, "task"));
  ASSIGN_OR_RETURN(task.type, text_of(row, "type"));
  ASSIGN_OR_RETURN(task.metric, text_of(row, "metric"));
  ASSIGN_OR_RETURN(task.tokens_p95, number_of(row, "tokens_p95"));
  ASSIGN_OR_RETURN(task.train, number_of(row, "train"));
  ASSIGN_OR_RETURN(task.gpt_3_5, number_of(row, "gpt_3_5"));
  ASSIGN_OR_RETURN(task.gpt_4, number_of(row, "gpt_4"));
  return task;
}

bool above(double a, double b) { return a > b + kHalfDigit; }
bool equal(double a, double b) { return std::fabs(a - b) <= kHalfDigit; }
double most(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

using OfTask = std::function<double(const StudyTask&)>;

// What a task is worth under a name.
const std::map<std::string, OfTask>& figures() {
  static const std::map<std::string, OfTask> all = {
      {"gpt_3_5", [](const StudyTask& task) { return task.gpt_3_5; }},
      {"gpt_4", [](const StudyTask& task) { return task.gpt_4; }},
      {"base", [](const StudyTask& task) { return mean_of(task.base); }},
      {"mean_base", [](const StudyTask& task) { return mean_of(task.base); }},
      {"fine_tuned", [](const StudyTask& task) { return mean_of(task.fine_tuned); }},
      {"mean_fine_tuned", [](const StudyTask& task) { return mean_of(task.fine_tuned); }},
      {"lift", [](const StudyTask& task) { return mean_of(task.fine_tuned) - mean_of(task.base); }},
      {"mean_lift", [](const StudyTask& task) { return mean_of(task.fine_tuned) - mean_of(task.base); }},
      {"best_base", [](const StudyTask& task) { return most(task.base); }},
      {"best_fine_tuned", [](const StudyTask& task) { return most(task.fine_tuned); }},
      {"best_fine_tuned_over_gpt_4", [](const StudyTask& task) { return most(task.fine_tuned) - task.gpt_4; }},
      {"max_lift_over_gpt_4", [](const StudyTask& task) { return most(task.fine_tuned) - task.gpt_4; }},
      {"best_fine_tuned_over_best_base", [](const StudyTask& task) { return most(task.fine_tuned) - most(task.base); }},
      {"tokens_p95", [](const StudyTask& task) { return task.tokens_p95; }},
      {"train", [](const StudyTask& task) { return task.train; }}};
  return all;
}

Result<std::vector<double>> figure_of(const Study& study, const std::string& name, const std::string& type = "") {
  const auto found = figures().find(name);
  if (found == figures().end()) return not_found("there is no figure \"" + name + "\" of a task");
  std::vector<double> values;
  for (const StudyTask& task : study.tasks) {
    if (type.empty() || task.type == type) values.push_back(found->second(task));
  }
  return values;
}

using OfCell = std::function<bool(const StudyTask&, size_t model)>;

double count_cells(const Study& study, const OfCell& counts) {
  double sum = 0;
  for (const StudyTask& task : study.tasks) {
    for (size_t model = 0; model < study.models.size(); ++model) sum += counts(task, model) ? 1 : 0;
  }
  return sum;
}

bool improved(const StudyTask& task, size_t model) { return above(task.fine_tuned[model], task.base[model]); }
bool beats_gpt_4(const StudyTask& task, size_t model) { return above(task.fine_tuned[model], task.gpt_4); }

Result<double> count_statistic(const Study& study, const std::string& name) {
  if (name == "cells") return count_cells(study, [](const StudyTask&, size_t) { return true; });
  if (name == "improved") return count_cells(study, improved);
  if (name == "beats_gpt_4") return count_cells(study, beats_gpt_4);
  if (name == "beats_or_ties_gpt_4") return count_cells(study, [](const StudyTask& task, size_t model) { return !above(task.gpt_4, task.fine_tuned[model]); });
  return not_found("there is no count \"" + name + "\"");
}

double count_tasks(const Study& study, const std::function<bool(const StudyTask&)>& counts) {
  return static_cast<double>(std::count_if(study.tasks.begin(), study.tasks.end(), counts));
}

// The best of the models of about two, or of about seven, billion parameters.
double best_of_size(const Study& study, const StudyTask& task, bool large) {
  double best = 0;
  for (size_t model = 0; model < study.models.size(); ++model) {
    const std::string& name = study.models[model];
    const bool small = name.find("2b") != std::string::npos || name == "phi-2";
    if (small != large) best = std::max(best, task.fine_tuned[model]);
  }
  return best;
}

Result<double> task_statistic(const Study& study, const std::string& name) {
  if (name == "gpt_4_ahead") return count_tasks(study, [](const StudyTask& task) { return above(task.gpt_4, most(task.fine_tuned)); });
  if (name == "gpt_4_tied") return count_tasks(study, [](const StudyTask& task) { return equal(task.gpt_4, most(task.fine_tuned)); });
  if (name == "gpt_3_5_ahead") return count_tasks(study, [](const StudyTask& task) { return above(task.gpt_3_5, most(task.fine_tuned)); });
  if (name == "7b_no_worse_than_2b") {
    return count_tasks(study, [&](const StudyTask& task) { return !above(best_of_size(study, task, false), best_of_size(study, task, true)); });
  }
  return not_found("there is no count of tasks \"" + name + "\"");
}

Result<double> model_statistic(const Study& study, const std::string& name, const std::string& wanted) {
  const auto found = std::find(study.models.begin(), study.models.end(), wanted);
  if (found == study.models.end()) return not_found("the study has no model \"" + wanted + "\"");
  const auto model = static_cast<size_t>(found - study.models.begin());
  std::vector<double> base, fine_tuned;
  for (const StudyTask& task : study.tasks) {
    base.push_back(task.base[model]);
    fine_tuned.push_back(task.fine_tuned[model]);
  }
  if (name == "base") return mean_of(base);
  if (name == "fine_tuned") return mean_of(fine_tuned);
  if (name == "lift") return mean_of(fine_tuned) - mean_of(base);
  if (name == "improved") return count_tasks(study, [&](const StudyTask& task) { return improved(task, model); });
  if (name == "beats_gpt_4") return count_tasks(study, [&](const StudyTask& task) { return beats_gpt_4(task, model); });
  if (name == "beats_gpt_3_5") return count_tasks(study, [&](const StudyTask& task) { return above(task.fine_tuned[model], task.gpt_3_5); });
  const auto bests = [&](const StudyTask& task) {
    return std::count_if(task.fine_tuned.begin(), task.fine_tuned.end(), [&](double value) { return equal(value, most(task.fine_tuned)); });
  };
  const auto is_best = [&](const StudyTask& task) { return equal(task.fine_tuned[model], most(task.fine_tuned)); };
  // A tie of all of them says nothing about any.
  if (name == "best_on") return count_tasks(study, is_best);
  if (name == "best_alone_on") return count_tasks(study, [&](const StudyTask& task) { return is_best(task) && bests(task) == 1; });
  return not_found("there is no figure \"" + name + "\" of a model");
}

Result<double> correlation(const Study& study, const std::string& pair) {
  const size_t slash = pair.find('/');
  if (slash == std::string::npos) return not_found("a correlation is correlation/A/B");
  ASSIGN_OR_RETURN(const auto a, figure_of(study, pair.substr(0, slash)));
  ASSIGN_OR_RETURN(const auto b, figure_of(study, pair.substr(slash + 1)));
  const auto value = pearson(a, b);
  if (!value) return failed_precondition("the correlation of " + pair + " is not defined");
  return *value;
}

// Fills in one row of scores.csv; seen: which pairs have stood there.
Status take_score(Study& study, const Row& row, std::set<std::pair<std::string, std::string>>& seen) {
  ASSIGN_OR_RETURN(const std::string name, text_of(row, "task"));
  ASSIGN_OR_RETURN(const std::string model, text_of(row, "model"));
  ASSIGN_OR_RETURN(const double base, number_of(row, "base"));
  ASSIGN_OR_RETURN(const double fine_tuned, number_of(row, "fine_tuned"));
  const auto task = std::find_if(study.tasks.begin(), study.tasks.end(), [&](const StudyTask& one) { return one.name == name; });
  if (task == study.tasks.end()) return invalid_argument("tasks.csv has no task \"" + name + "\"");
  if (!seen.insert({name, model}).second) return invalid_argument("task \"" + name + "\" with model \"" + model + "\" stands there twice");
  auto place = std::find(study.models.begin(), study.models.end(), model);
  if (place == study.models.end()) place = study.models.insert(place, model);
  const auto index = static_cast<size_t>(place - study.models.begin());
  if (task->base.size() <= index) {
    task->base.resize(index + 1, NAN);
    task->fine_tuned.resize(index + 1, NAN);
  }
  task->base[index] = base;
  task->fine_tuned[index] = fine_tuned;
  return ok_status();
}

}  // namespace

bool QuotedFigure::supported() const { return std::fabs(quoted - computed) <= tolerance; }

Result<Study> read_study(const Path& dir) {
  Study study;
  std::set<std::pair<std::string, std::string>> seen;
  RETURN_IF_ERROR(data::each_object(dir / "tasks.csv", {.rows_max = kRowsMax}, [&](const Row& row, int64_t) -> Status {
    ASSIGN_OR_RETURN(StudyTask task, task_of(row));
    study.tasks.push_back(std::move(task));
    return ok_status();
  }));
  RETURN_IF_ERROR(data::each_object(dir / "scores.csv", {.rows_max = kRowsMax}, [&](const Row& row, int64_t) { return take_score(study, row, seen); }));
  for (const StudyTask& task : study.tasks) {
    for (const std::string& model : study.models) {
      if (seen.count({task.name, model}) == 0) {
        return invalid_argument((dir / "scores.csv").string() + ": task \"" + task.name + "\" has no score of model \"" + model + "\"");
      }
    }
  }
  return study;
}

Result<double> study_statistic(const Study& study, const std::string& name) {
  const size_t end = std::min(name.find_first_of("./"), name.size());
  const std::string group = name.substr(0, end), rest = end < name.size() ? name.substr(end + 1) : "";
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string first = rest.substr(0, slash), second = slash < rest.size() ? rest.substr(slash + 1) : "";
  if (group == "count") return count_statistic(study, rest);
  if (group == "tasks") return task_statistic(study, rest);
  if (group == "model") return model_statistic(study, first, second);
  if (group == "correlation") return correlation(study, rest);
  if (group == "mean") {
    ASSIGN_OR_RETURN(const auto values, figure_of(study, rest));
    return mean_of(values);
  }
  if (group == "type") {
    ASSIGN_OR_RETURN(const auto values, figure_of(study, first == "tasks" ? "gpt_4" : first, second));
    if (values.empty()) return not_found("the study has no tasks of type \"" + second + "\"");
    return first == "tasks" ? static_cast<double>(values.size()) : mean_of(values);
  }
  return not_found("there is no statistic \"" + name + "\"");
}

Result<std::vector<QuotedFigure>> compare_with_quoted(const Study& study, const Path& dir) {
  std::vector<QuotedFigure> all;
  RETURN_IF_ERROR(data::each_object(dir / "quoted.csv", {.rows_max = kRowsMax}, [&](const Row& row, int64_t) -> Status {
    QuotedFigure one;
    ASSIGN_OR_RETURN(one.what, text_of(row, "what"));
    ASSIGN_OR_RETURN(one.where, text_of(row, "where"));
    ASSIGN_OR_RETURN(one.statistic, text_of(row, "statistic"));
    ASSIGN_OR_RETURN(one.quoted, number_of(row, "quoted"));
    ASSIGN_OR_RETURN(one.tolerance, number_of(row, "tolerance"));
    ASSIGN_OR_RETURN(one.computed, study_statistic(study, one.statistic));
    all.push_back(std::move(one));
    return ok_status();
  }));
  return all;
}

}  // namespace umbel::eval
