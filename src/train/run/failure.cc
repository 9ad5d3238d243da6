#include "train/run/failure.h"

#include <cmath>
#include <cstdio>
#include <numeric>

#include "train/run/best.h"

namespace umbel::train {
namespace {

constexpr size_t kLossesKept = 20;
constexpr size_t kLossesNeeded = 5;  // before anything is called a spike
constexpr int64_t kSpikesMax = 3, kZeroGradientsMax = 5, kWorseMax = 3, kCollapsedMax = 2;
constexpr int64_t kRowsToJudge = 8;
constexpr double kSameAnswer = 0.95, kClearlyLower = 0.2;

std::string number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}
std::string percent(double share) { return number(100.0 * share) + " %"; }

}  // namespace

Status FailureDetector::on_step(const StepReport& report) {
  if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) return ok_status();  // the trainer's own verdict
  zero_gradients_ = report.gradient_norm == 0.0 ? zero_gradients_ + 1 : 0;
  if (zero_gradients_ >= kZeroGradientsMax) {
    return failed_precondition(job_ + ": the gradient has been exactly 0 for " + std::to_string(zero_gradients_) + " steps (step " +
                               std::to_string(report.step) + "), so nothing is learned; check that the targets are reached and that "
                               "the rows have something to learn");
  }
  return spike_verdict(report);
}

Status FailureDetector::spike_verdict(const StepReport& report) {
  const double mean = ordinary_.empty() ? 0.0 : std::accumulate(ordinary_.begin(), ordinary_.end(), 0.0) / static_cast<double>(ordinary_.size());
  const double first = first_count_ > 0 ? first_sum_ / static_cast<double>(first_count_) : 0.0;
  if (first_count_ < static_cast<int64_t>(kLossesKept)) {
    first_sum_ += report.loss;
    ++first_count_;
  }
  const bool spike = life_.spike > 0 && ordinary_.size() >= kLossesNeeded && report.loss > life_.spike * mean && report.loss > 0.5 * first;
  if (!spike) {
    spikes_ = 0;
    ordinary_.push_back(report.loss);
    if (ordinary_.size() > kLossesKept) ordinary_.erase(ordinary_.begin());
    return ok_status();
  }
  if (++spikes_ < kSpikesMax) return ok_status();
  return failed_precondition(job_ + ": the loss jumped and stayed up: " + number(report.loss) + " at step " + std::to_string(report.step) +
                             ", mean before it " + number(mean) + "; try a smaller learning rate, a longer warm-up or a tighter clip");
}

bool FailureDetector::collapsed(const EvalEvent& event) const {
  return event.rows >= kRowsToJudge && event.report.same_answer >= kSameAnswer &&
         event.report.same_reference <= event.report.same_answer - kClearlyLower;
}

Status FailureDetector::collapse_failure(const EvalEvent& event) const {
  return failed_precondition(job_ + ": collapsed: it gives one same answer on " + percent(event.report.same_answer) + " of the " +
                             std::to_string(event.rows) + " held-out rows (step " + std::to_string(event.step) +
                             "), while only " + percent(event.report.same_reference) +
                             " of the references agree; try a smaller learning rate, and look at the data");
}

bool FailureDetector::worse_than_start(const EvalEvent& event) const {
  const EvalReport start{.loss = event.base_loss, .exact_rows = event.base_exact_rows};
  return is_better(start, event.report, life_.best_by);
}

std::string FailureDetector::against_start(const EvalEvent& event) const {
  const bool exact = life_.best_by == BestBy::kExactMatch && event.report.exact_rows != event.base_exact_rows;
  return exact ? percent(event.report.exact_rows) + " of the rows right against " + percent(event.base_exact_rows)
               : number(event.report.loss) + " against " + number(event.base_loss);
}

Status FailureDetector::on_eval(const EvalEvent& event, int64_t steps) {
  if (event.step == 0) return ok_status();  // before training
  const bool judged = 2 * event.step >= steps;
  worse_ = judged && worse_than_start(event) ? worse_ + 1 : 0;
  collapsed_ = judged && collapsed(event) ? collapsed_ + 1 : 0;
  if (!std::isfinite(event.report.loss)) {
    return failed_precondition(job_ + ": the loss on the held-out rows is not a number at step " + std::to_string(event.step) +
                               "; try a smaller learning rate");
  }
  if (collapsed_ >= kCollapsedMax) return collapse_failure(event);
  if (life_.worse_than_base_fails && worse_ >= kWorseMax) {
    return failed_precondition(job_ + ": on the held-out rows it has been worse than the base " + std::to_string(worse_) +
                               " times in a row: " + against_start(event) + " at step " +
                               std::to_string(event.step) + "; try a smaller learning rate, and look at the data");
  }
  return ok_status();
}

Status FailureDetector::at_end(const EvalEvent& last, const EvalEvent& chosen) const {
  if (collapsed(last)) return collapse_failure(last);
  if (!life_.worse_than_base_fails || !worse_than_start(chosen)) return ok_status();
  return failed_precondition(job_ + ": on the held-out rows it ends worse than the base: " + against_start(chosen) + "; try a smaller learning rate, and look at the data");
}

Json FailureDetector::to_json() const {
  return {{"ordinary", ordinary_}, {"first_sum", first_sum_}, {"first_count", first_count_}, {"spikes", spikes_},
          {"zero_gradients", zero_gradients_}, {"worse", worse_}, {"collapsed", collapsed_}};
}

Status FailureDetector::restore(const Json& json) {
  if (!json.is_object() || !json.contains("ordinary") || !json["ordinary"].is_array() || json["ordinary"].size() > kLossesKept) {
    return data_loss("field \"ordinary\" is missing or no list of numbers");
  }
  ordinary_.clear();
  for (const Json& loss : json["ordinary"]) {
    if (!loss.is_number()) return data_loss("field \"ordinary\" holds something else than numbers");
    ordinary_.push_back(loss.get<double>());
  }
  ASSIGN_OR_RETURN(first_sum_, json_field<double>(json, "first_sum"));
  ASSIGN_OR_RETURN(first_count_, json_field<int64_t>(json, "first_count"));
  ASSIGN_OR_RETURN(spikes_, json_field<int64_t>(json, "spikes"));
  ASSIGN_OR_RETURN(zero_gradients_, json_field<int64_t>(json, "zero_gradients"));
  ASSIGN_OR_RETURN(worse_, json_field<int64_t>(json, "worse"));
  ASSIGN_OR_RETURN(collapsed_, json_field<int64_t>(json, "collapsed"));
  return ok_status();
}

}  // namespace umbel::train
