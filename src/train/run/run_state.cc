#include "train/run/run_state.h"

#include <cmath>

#include "train/run/run_fields.h"

namespace umbel::train {
namespace {

// JSON has no NaN: null stands for it.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }
Result<double> number_of(const Json& json, const char* name) { return json_field_or<double>(json, name, NAN); }

Json report_to_json(const std::optional<EvalReport>& report) {
  if (!report) return nullptr;
  return {{"loss", number(report->loss)}, {"tokens", report->tokens}, {"token_accuracy", report->token_accuracy},
          {"exact_rows", report->exact_rows}, {"same_answer", report->same_answer}, {"same_reference", report->same_reference}, {"rows", report->rows}};
}

Json look_to_json(const std::optional<EvalEvent>& look) {
  if (!look) return nullptr;
  return {{"step", look->step}, {"rows", look->rows}, {"report", report_to_json(look->report)}, {"best", look->best},
          {"base_loss", number(look->base_loss)}, {"base_exact_rows", look->base_exact_rows}};
}

Result<std::optional<EvalReport>> report_of(const Json& json, const char* name) {
  if (!json.contains(name) || json[name].is_null()) return std::optional<EvalReport>();
  const Json& from = json[name];
  EvalReport report;
  ASSIGN_OR_RETURN(report.loss, number_of(from, "loss"));
  ASSIGN_OR_RETURN(report.tokens, json_field<int64_t>(from, "tokens"));
  ASSIGN_OR_RETURN(report.token_accuracy, json_field<double>(from, "token_accuracy"));
  ASSIGN_OR_RETURN(report.exact_rows, json_field<double>(from, "exact_rows"));
  ASSIGN_OR_RETURN(report.same_answer, json_field<double>(from, "same_answer"));
  ASSIGN_OR_RETURN(report.same_reference, json_field<double>(from, "same_reference"));
  ASSIGN_OR_RETURN(report.rows, json_field<int64_t>(from, "rows"));
  return std::optional(report);
}

Result<std::optional<EvalEvent>> look_of(const Json& json, const char* name, const std::string& job) {
  if (!json.contains(name) || json[name].is_null()) return std::optional<EvalEvent>();
  const Json& look = json[name];
  EvalEvent event{.job = job, .step = 0, .rows = 0, .report = {}, .best = false, .base_loss = 0};
  ASSIGN_OR_RETURN(event.step, json_field<int64_t>(look, "step"));
  ASSIGN_OR_RETURN(event.rows, json_field<int64_t>(look, "rows"));
  ASSIGN_OR_RETURN(const std::optional<EvalReport> report, report_of(look, "report"));
  if (!report) return data_loss("field \"report\" of \"" + std::string(name) + "\" is missing");
  event.report = *report;
  ASSIGN_OR_RETURN(event.best, json_field<bool>(look, "best"));
  ASSIGN_OR_RETURN(event.base_loss, number_of(look, "base_loss"));
  ASSIGN_OR_RETURN(event.base_exact_rows, json_field<double>(look, "base_exact_rows"));
  return std::optional<EvalEvent>(event);
}

Status restore_outcome(RunJob& job, const Json& json) {
  JobOutcome& outcome = job.outcome;
  ASSIGN_OR_RETURN(const int64_t end, json_field<int64_t>(json, "end"));
  if (end < 0 || end > static_cast<int64_t>(JobEnd::kFailed)) return data_loss("field \"end\" is no end of a job");
  outcome.end = static_cast<JobEnd>(end);
  ASSIGN_OR_RETURN(const std::string failure, json_field<std::string>(json, "failure"));
  if (!failure.empty()) outcome.status = failed_precondition(failure);
  ASSIGN_OR_RETURN(outcome.note, json_field<std::string>(json, "note"));
  ASSIGN_OR_RETURN(outcome.written, json_field<bool>(json, "written"));
  ASSIGN_OR_RETURN(outcome.written_step, json_field<int64_t>(json, "written_step"));
  ASSIGN_OR_RETURN(outcome.base_eval, report_of(json, "base_eval"));
  ASSIGN_OR_RETURN(outcome.start_eval, report_of(json, "start_eval"));
  ASSIGN_OR_RETURN(outcome.eval, report_of(json, "eval"));
  ASSIGN_OR_RETURN(outcome.sweep_winner, json_field<bool>(json, "sweep_winner"));
  return ok_status();
}

Status restore_scores(RunJob& job, const Json& json) {
  if (!json.contains("sweep_scores") || !json["sweep_scores"].is_array()) return data_loss("field \"sweep_scores\" is missing");
  if (!json.contains("sweep_ties") || !json["sweep_ties"].is_array()) return data_loss("field \"sweep_ties\" is missing");
  job.sweep_scores.clear();
  job.sweep_ties.clear();
  for (const Json& tie : json["sweep_ties"]) job.sweep_ties.push_back(tie.is_number() ? tie.get<double>() : NAN);
  for (const Json& score : json["sweep_scores"]) job.sweep_scores.push_back(score.is_number() ? score.get<double>() : NAN);
  if (job.sweep_ties.size() != job.sweep_scores.size()) return data_loss("field \"sweep_ties\" has another length than \"sweep_scores\"");
  ASSIGN_OR_RETURN(job.loss_sum, number_of(json, "loss_sum"));
  ASSIGN_OR_RETURN(job.loss_count, json_field<int64_t>(json, "loss_count"));
  return ok_status();
}

}  // namespace

Json job_identity(const RunJob& job) {
  Json identity = job_fields(job.plan);
  identity["data"] = dataset_fingerprint(*job.data);
  identity["eval_data"] = job.held_out ? Json(dataset_fingerprint(*job.held_out)) : Json();
  return identity;
}

Json job_to_json(const RunJob& job, const JobState& state) {
  Json scores = Json::array();
  for (const double score : job.sweep_scores) scores.push_back(number(score));
  Json ties = Json::array();
  for (const double tie : job.sweep_ties) ties.push_back(number(tie));
  return {{"step", state.step},
          {"steps", state.steps},
          {"last_loss", number(state.last_loss)},
          {"ended", job.ended},
          {"closed", job.closed},
          {"detector", job.detector.to_json()},
          {"base_look", look_to_json(job.base_look)},
          {"last_look", look_to_json(job.last_look)},
          {"best_look", look_to_json(job.best_look)},
          {"best_step", job.best_step},
          {"best_loss", number(job.best_loss)},
          {"looks_since_best", job.looks_since_best},
          {"sweep_scores", scores},
          {"sweep_ties", ties},
          {"loss_sum", number(job.loss_sum)},
          {"loss_count", job.loss_count},
          {"end", static_cast<int>(job.outcome.end)},
          // A folder that could not be written is no failure of the training: the resumed run tries again.
          {"failure", job.outcome.end == JobEnd::kFailed ? job.outcome.status.message() : ""},
          {"note", job.outcome.note},
          {"written", job.outcome.written},
          {"written_step", job.outcome.written_step},
          {"sweep_winner", job.outcome.sweep_winner},
          {"base_eval", report_to_json(job.outcome.base_eval)},
          {"start_eval", report_to_json(job.outcome.start_eval)},
          {"eval", report_to_json(job.outcome.eval)}};
}

Result<JobState> restore_job(RunJob& job, const Json& json) {
  JobState state;
  state.name = job.plan.job.name;
  if (!json.is_object() || !json.contains("detector")) return data_loss("field \"detector\" is missing");
  ASSIGN_OR_RETURN(state.step, json_field<int64_t>(json, "step"));
  ASSIGN_OR_RETURN(state.steps, json_field<int64_t>(json, "steps"));
  if (state.step < 0 || state.step > state.steps) return data_loss("field \"step\" is not in 0 .. steps");
  ASSIGN_OR_RETURN(state.last_loss, number_of(json, "last_loss"));
  ASSIGN_OR_RETURN(job.ended, json_field<bool>(json, "ended"));
  ASSIGN_OR_RETURN(job.closed, json_field<bool>(json, "closed"));
  RETURN_IF_ERROR(job.detector.restore(json["detector"]));
  ASSIGN_OR_RETURN(job.base_look, look_of(json, "base_look", state.name));
  ASSIGN_OR_RETURN(job.last_look, look_of(json, "last_look", state.name));
  ASSIGN_OR_RETURN(job.best_look, look_of(json, "best_look", state.name));
  ASSIGN_OR_RETURN(job.best_step, json_field<int64_t>(json, "best_step"));
  ASSIGN_OR_RETURN(job.best_loss, number_of(json, "best_loss"));
  ASSIGN_OR_RETURN(job.looks_since_best, json_field<int64_t>(json, "looks_since_best"));
  RETURN_IF_ERROR(restore_scores(job, json));
  RETURN_IF_ERROR(restore_outcome(job, json));
  job.outcome.step = state.step;
  job.outcome.steps = state.steps;
  job.outcome.last_loss = state.last_loss;
  state.stopped = job.ended;
  state.status = job.outcome.status;
  return state;
}

}  // namespace umbel::train
