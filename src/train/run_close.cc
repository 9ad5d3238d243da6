// How jobs and runs end, and what is kept on the way: adapters' folders, checkpoints, the report.
#include <algorithm>
#include <cmath>

#include "train/adapter_folder.h"
#include "train/run_fields.h"
#include "train/run_loop.h"

namespace umbel {
Status RunLoop::close_jobs() {
  for (size_t i = 0; i < jobs_.size(); ++i) {
    RunJob& job = jobs_[i];
    if (!job.ended || job.closed || job.write_tried) continue;
    close(i);
    log_->end(job.outcome, seconds());
    observer_->on_end(job.outcome);
  }
  return ok_status();
}

void RunLoop::close(size_t index) {
  RunJob& job = jobs_[index];
  JobOutcome& outcome = job.outcome;
  const bool keeps = outcome.end == JobEnd::kFinished || outcome.end == JobEnd::kStoppedEarly;
  const int64_t chosen = job.chosen_step(outcome.step);
  if (keeps && job.last_look) {
    const double loss = chosen == job.best_step ? job.best_loss : job.last_look->report.loss;
    outcome.eval_loss = loss;
    outcome.status = job.detector.at_end(*job.last_look, loss);
    if (!outcome.status.ok()) outcome.end = JobEnd::kFailed;
  }
  job.closed = true;
  if (!keeps || outcome.end == JobEnd::kFailed) return;
  job.write_tried = true;
  outcome.written_step = chosen;
  const Status written = write_adapter(index);
  outcome.written = written.ok();
  job.closed = written.ok();
  if (!written.ok()) outcome.status = written.with_context(outcome.name + " is trained, but its folder can't be written (--resume tries again)");
}

Status RunLoop::write_adapter(size_t index) {
  RunJob& job = jobs_[index];
  TrainableAdapter& adapter = trainer_.adapter(index);
  if (job.outcome.written_step != job.outcome.step) {
    RETURN_IF_ERROR(load_tensors(checkpoints_.best_file({index, job.outcome.written_step}), value_tensors(adapter.parameters())));
    adapter.materialize();
  }
  const RunServices& services = parts_.services;
  const CardFacts facts{.plan = job.plan, .outcome = job.outcome, .base_name = services.base_name,
                        .base_dtype = std::string(services.model->weight_type()),
                        .rows = static_cast<int64_t>(job.data->examples.size()), .trained_tokens = job.data->trained_tokens,
                        .skipped_rows = job.skipped_rows, .eval_rows = job.held_out ? static_cast<int64_t>(job.held_out->examples.size()) : 0,
                        .modules = adapter.modules(), .trained_values = adapter.trained_values(), .version = services.version,
                        .command = services.command};
  const std::string chat_template = services.chat_template ? services.chat_template->source() : "";
  return write_adapter_folder(job.plan.out, adapter, adapter_card(facts), chat_template);
}

Json RunLoop::state_json() const {
  Json jobs = Json::array();
  for (size_t i = 0; i < jobs_.size(); ++i) {
    Json job = job_to_json(jobs_[i], trainer_.state(i));
    job["identity"] = jobs_[i].identity;
    jobs.push_back(std::move(job));
  }
  const bool finished = std::all_of(jobs_.begin(), jobs_.end(), [](const RunJob& job) { return job.closed; });
  return {{"format", 1},
          {"finished", finished},
          {"run", run_identity(parts_.services)},
          {"seconds", seconds()},
          {"log", log_->marks()},
          {"jobs", std::move(jobs)},
          {"sweep_looks", parts_.sweep_looks},
          {"notes", parts_.notes}};
}

Status RunLoop::save() {
  if (saved_round_ == parts_.round) return ok_status();
  const double before = seconds();
  std::vector<Checkpoints::Job> jobs;
  std::vector<Checkpoints::Best> best;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    if (jobs_[i].closed) continue;
    jobs.push_back({i, checkpoint_tensors(trainer_.adapter(i).parameters())});
    if (jobs_[i].plan.life.keep_best && jobs_[i].best_step > 0) best.push_back({i, jobs_[i].best_step});
  }
  const auto written = [&]() -> Status {
    RETURN_IF_ERROR(log_->sync());
    RETURN_IF_ERROR(checkpoints_.write(parts_.round, state_json(), jobs, best));
    return write_report();
  };
  RETURN_IF_ERROR(written().with_context("the checkpoint of step " + std::to_string(parts_.round) +
                                         " can't be written; what was written before stands: make room and go on by --resume"));
  saved_round_ = parts_.round;
  saved_at_ = seconds();
  save_cost_ = saved_at_ - before;
  return ok_status();
}

Status RunLoop::write_report() const {
  const RunServices& services = parts_.services;
  RunReport report{.title = "umbel train: " + parts_.spec.out.filename().string(), .jobs = {}, .ended = {}, .facts = {}, .notes = parts_.notes,
                   .configuration = ""};
  for (const RunJob& job : jobs_) {
    report.jobs.push_back(job.outcome);
    report.ended.push_back(job.ended);
    Json fields = job_fields(job.plan);
    fields["data_file"] = job.plan.data;
    fields["eval_data_file"] = job.plan.eval_data;
    fields["out"] = job.plan.out.string();
    report.configuration += fields.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  report.facts = {{"base", services.base_name + ", " + std::string(services.model->weight_type()) + ", " +
                               std::to_string(services.model->parameters()) + " parameters"},
                  {"arithmetic", std::string(kernels::isa_name(services.choice.isa)) + ", " +
                                     std::string(kernels::arithmetic_name(services.choice.arithmetic)) + ", " +
                                     std::to_string(services.threads) + " threads"},
                  {"umbel", services.version},
                  {"planned memory beyond the weights", std::to_string(trainer_.plan().beyond_weights() >> 20) + " MiB"},
                  {"time", format_seconds(seconds())}};
  if (expected_.steps_probed > 0) report.facts.emplace_back("expected time (after ten steps)", format_seconds(expected_.expected_seconds));
  if (!services.command.empty()) report.facts.emplace_back("command", services.command);
  return write_file_atomic(parts_.spec.out / kReportName, run_report_html(report, log_->history()));
}

void RunLoop::name_winners() {
  for (const SweepSpec& sweep : parts_.spec.sweeps) {
    std::vector<SweepArm> arms = arms_of(sweep);
    std::erase_if(arms, [&](const SweepArm& arm) { return !jobs_[arm.job].outcome.written; });
    const bool looked = std::all_of(arms.begin(), arms.end(), [&](const SweepArm& arm) { return jobs_[arm.job].held_out != nullptr; });
    for (SweepArm& arm : arms) arm.score = looked ? *jobs_[arm.job].outcome.eval_loss : jobs_[arm.job].mean_loss();
    const auto best = winner(arms);
    if (!best) continue;
    RunJob& job = jobs_[*best];
    const bool told = std::exchange(job.outcome.sweep_winner, true);
    const std::string text = "sweep " + sweep.name + ": the winner is " + job.plan.job.name + ", in " + job.plan.out.string();
    const bool noted = std::find(parts_.notes.begin(), parts_.notes.end(), text) != parts_.notes.end();
    if (!told && !noted) note(text);
  }
}

Result<std::vector<JobOutcome>> RunLoop::finish() {
  name_winners();
  if (pace_.steps() > 0 && expected_.steps_probed == 0) estimate();
  if (pace_.steps() > 0) {
    note("took " + format_seconds(seconds()) + (expected_.expected_seconds > 0 ? ", expected " + format_seconds(expected_.expected_seconds) : ""));
  }
  saved_round_ = -1;
  RETURN_IF_ERROR(save());
  const bool finished = std::all_of(jobs_.begin(), jobs_.end(), [](const RunJob& job) { return job.closed; });
  if (finished) RETURN_IF_ERROR(checkpoints_.remove_before(parts_.round));
  ended_seconds_ = seconds();
  std::vector<JobOutcome> outcomes;
  for (const RunJob& job : jobs_) outcomes.push_back(job.outcome);
  return outcomes;
}

}  // namespace umbel
