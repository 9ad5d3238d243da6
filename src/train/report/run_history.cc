#include "train/report/run_history.h"

#include <cmath>

namespace umbel::train {

void Curve::add(int64_t step, double value) {
  last_ = {step, value};
  any_ = true;
  if (seen_++ % stride_ != 0) return;
  kept_.push_back(last_);
  if (kept_.size() < kPointsMax) return;
  for (size_t i = 0; 2 * i < kept_.size(); ++i) kept_[i] = kept_[2 * i];
  kept_.resize((kept_.size() + 1) / 2);
  stride_ *= 2;
}

std::vector<std::pair<int64_t, double>> Curve::points() const {
  auto all = kept_;
  if (any_ && (all.empty() || all.back() != last_)) all.push_back(last_);
  return all;
}

JobHistory& RunHistory::job(const std::string& name) {
  for (JobHistory& job : jobs_) {
    if (job.name == name) return job;
  }
  JobHistory& added = jobs_.emplace_back();
  added.name = name;
  return added;
}

const JobHistory* RunHistory::find(const std::string& name) const {
  for (const JobHistory& job : jobs_) {
    if (job.name == name) return &job;
  }
  return nullptr;
}

void RunHistory::take(const Json& line) {
  const auto event = json_field<std::string>(line, "event");
  const auto name = json_field<std::string>(line, "job");
  const auto step = json_field<int64_t>(line, "step");
  const auto loss = json_field<double>(line, "loss");
  if (!event.ok() || !name.ok() || !step.ok() || !loss.ok()) return;
  JobHistory& history = job(*name);
  if (*event == "step") {
    history.loss.add(*step, *loss);
    if (const auto rate = json_field<double>(line, "learning_rate"); rate.ok()) history.learning_rate.add(*step, *rate);
    if (const auto norm = json_field<double>(line, "gradient_norm"); norm.ok()) history.gradient_norm.add(*step, *norm);
    if (const auto tokens = json_field<int64_t>(line, "tokens"); tokens.ok()) history.tokens += *tokens;
  } else if (*event == "eval") {
    history.eval_loss.add(*step, *loss);
    if (const auto exact = json_field<double>(line, "exact_rows"); exact.ok()) history.exact_match.add(*step, *exact);
    if (history.best_step < 0 || *loss < history.best_eval) {
      history.best_eval = *loss;
      history.best_step = *step;
    }
  }
}

}  // namespace umbel::train
