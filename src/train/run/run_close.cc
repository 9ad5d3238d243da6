// How jobs and runs end, and what is kept on the way: adapters' folders, checkpoints, the report.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "data/dataset_statistics.h"
#include "data/prompt_file.h"
#include "train/run/adapter_folder.h"
#include "train/run/best.h"
#include "train/run/run_fields.h"
#include "train/run/run_loop.h"

namespace umbel::train {
namespace {

bool kept(const JobOutcome& outcome) { return outcome.end == JobEnd::kFinished || outcome.end == JobEnd::kStoppedEarly; }

std::string figure(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

}  // namespace

const SweepSpec* RunLoop::sweep_of(const RunJob& job) const {
  for (const SweepSpec& sweep : parts_.spec.sweeps) {
    if (!job.plan.sweep.empty() && sweep.name == job.plan.sweep) return &sweep;
  }
  return nullptr;
}

bool RunLoop::all_ended(const SweepSpec& sweep) const {
  return std::all_of(jobs_.begin(), jobs_.end(), [&](const RunJob& job) { return job.plan.sweep != sweep.name || job.ended; });
}

Status RunLoop::close_jobs() {
  for (size_t i = 0; i < jobs_.size(); ++i) {
    if (jobs_[i].ended && !jobs_[i].closed && !jobs_[i].write_tried) judge(i);
  }
  for (const SweepSpec& sweep : parts_.spec.sweeps) {
    if (all_ended(sweep)) decide(sweep);
  }
  for (size_t i = 0; i < jobs_.size(); ++i) {
    RunJob& job = jobs_[i];
    if (!job.ended || job.closed || job.write_tried) continue;
    const SweepSpec* sweep = sweep_of(job);
    if (sweep != nullptr && !all_ended(*sweep)) continue;
    close(i);
    log_->end(job.outcome, seconds());
    observer_->on_end(job.outcome);
  }
  return ok_status();
}

// What a job that ended by itself came to; may turn it into a failure.
void RunLoop::judge(size_t index) {
  RunJob& job = jobs_[index];
  JobOutcome& outcome = job.outcome;
  if (!kept(outcome) || !job.last_look) return;
  const EvalEvent& chosen = *job.chosen_look(outcome.step);
  outcome.eval = chosen.report;
  outcome.status = job.detector.at_end(*job.last_look, chosen);
  if (!outcome.status.ok()) outcome.end = JobEnd::kFailed;
}

// Names the winner of a sweep whose arms have all ended. Arms that only lost in the end say so, unless all are kept.
void RunLoop::decide(const SweepSpec& sweep) {
  std::vector<SweepArm> arms = arms_of(sweep);
  if (std::any_of(arms.begin(), arms.end(), [&](const SweepArm& arm) { return jobs_[arm.job].outcome.sweep_winner; })) return;
  const bool looked = std::all_of(arms.begin(), arms.end(), [&](const SweepArm& arm) { return jobs_[arm.job].held_out != nullptr; });
  for (SweepArm& arm : arms) {
    const RunJob& job = jobs_[arm.job];
    arm.score = looked ? score_of(*job.outcome.eval, job.plan.life.best_by) : job.mean_loss();
    arm.tie = looked ? tie_of(*job.outcome.eval, job.plan.life.best_by) : 0;
  }
  const auto best = winner(arms);
  if (!best) return;
  RunJob& first = jobs_[*best];
  first.outcome.sweep_winner = true;
  first.outcome.out = sweep.out;
  const auto shown = [&](size_t index) { return figure(std::find_if(arms.begin(), arms.end(), [&](const SweepArm& arm) { return arm.job == index; })->score); };
  const std::string measure = std::string(looked ? score_name(first.plan.life.best_by) : "training loss") + " ";
  for (const SweepArm& arm : arms) {
    RunJob& job = jobs_[arm.job];
    if (arm.job == *best || !kept(job.outcome) || sweep.keep == SweepKeep::kAll) continue;
    job.outcome.end = JobEnd::kLostSweep;
    job.outcome.note = measure + shown(arm.job) + ", the best arm " + first.plan.job.name + " has " + shown(*best);
  }
  note("sweep " + sweep.name + ": the winner is " + first.plan.job.name + " (" + measure + shown(*best) + "), in " + sweep.out.string());
}

void RunLoop::close(size_t index) {
  RunJob& job = jobs_[index];
  JobOutcome& outcome = job.outcome;
  const SweepSpec* sweep = sweep_of(job);
  const bool of_kept_sweep = sweep != nullptr && sweep->keep == SweepKeep::kAll && outcome.end == JobEnd::kLostSweep;
  job.closed = true;
  if (!kept(outcome) && !of_kept_sweep) return;
  job.write_tried = true;
  outcome.written_step = job.chosen_step(outcome.step);
  Status written;
  if (outcome.sweep_winner) {
    JobPlan plan = job.plan;
    plan.job.name = sweep->name;
    plan.out = sweep->out;
    written = write_adapter(index, plan);
  }
  const bool own_folder = sweep == nullptr || sweep->keep == SweepKeep::kAll;
  if (written.ok() && own_folder) written = write_adapter(index, job.plan);
  outcome.written = written.ok();
  job.closed = written.ok();
  if (!written.ok()) outcome.status = written.with_context(outcome.name + " is trained, but its folder can't be written (--resume tries again)");
}

// plan: the job's own, or a winner's under its sweep's name.
Status RunLoop::write_adapter(size_t index, const JobPlan& plan) {
  RunJob& job = jobs_[index];
  TrainableAdapter& adapter = trainer_.adapter(index);
  if (job.outcome.written_step != job.outcome.step) {
    RETURN_IF_ERROR(load_tensors(checkpoints_.best_file({index, job.outcome.written_step}), value_tensors(adapter.parameters())));
    adapter.materialize();
  }
  const RunServices& services = parts_.services;
  std::vector<TokenId> ends = services.ends;
  if (ends.empty() && services.eos >= 0) ends = {services.eos};
  std::vector<std::string> other_ends;
  for (const auto& [id, examples] : data::describe(*job.data, *services.tokenizer, ends).other_ends) {
    ends.push_back(id);
    other_ends.push_back(services.tokenizer->token(id).value_or(std::to_string(id)));
  }
  const CardFacts facts{.plan = plan, .outcome = job.outcome, .arm = job.plan.job.name, .base_name = services.base_name,
                        .base_dtype = std::string(services.model->weight_type()),
                        .rows = static_cast<int64_t>(job.data->examples.size()), .trained_tokens = job.data->trained_tokens,
                        .skipped_rows = job.skipped_rows, .eval_rows = job.held_out ? static_cast<int64_t>(job.held_out->examples.size()) : 0,
                        .format = job.data->format, .other_ends = other_ends, .modules = adapter.modules(), .trained_values = adapter.trained_values(),
                        .defaults = services.model->targets().defaults(), .version = services.version,
                        .command = services.command};
  FolderTexts texts{.card = adapter_card(facts), .chat_template = services.chat_template ? services.chat_template->source() : ""};
  texts.prompt_file = data::prompt_file_text({.format = job.data->format, .prompt = plan.dataset.prompt_template,
                                              .completion = plan.dataset.completion_template,
                                              .prompts = job.data->files.empty() ? data::PromptFile::Prompts::kUnknown
                                                                                 : data::prompts_of(job.data->format, job.data->files.front())});
  if (!other_ends.empty()) texts.end_ids = ends;
  return write_adapter_folder(plan.out, adapter, texts);
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
                                     std::string(kernels::arithmetic_name(services.model->arithmetic())) + ", " +
                                     std::to_string(services.threads) + " threads"},
                  {"umbel", services.version},
                  {"planned memory beyond the weights", std::to_string(trainer_.plan().beyond_weights() >> 20) + " MiB"},
                  {"time", format_seconds(seconds())}};
  if (expected_.steps_probed > 0) report.facts.emplace_back("expected time (after ten steps)", format_seconds(expected_.expected_seconds));
  if (!services.command.empty()) report.facts.emplace_back("command", services.command);
  return write_file_atomic(parts_.spec.out / kReportName, run_report_html(report, log_->history()));
}

Result<std::vector<JobOutcome>> RunLoop::finish() {
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

}  // namespace umbel::train
