#include "train/run/run.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "train/run/best.h"
#include "train/run/run_loop.h"

namespace umbel::train {
namespace {

constexpr int64_t kProbeSteps = 10;
constexpr double kProbeSeconds = 60;      // a large crowd is asked for fewer steps (two at least)
constexpr double kProbeEvalSeconds = 15;  // of looking at held-out rows
constexpr double kCheckpointShare = 0.05;  // of the time, at most, where no interval was asked for

bool ends_epoch(const StepReport& report) { return report.epoch == std::floor(report.epoch) || report.step == report.steps; }

bool due(const StepReport& report, int64_t every) { return every > 0 ? report.step % every == 0 : ends_epoch(report); }

std::string number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

// Looks that a job still comes to.
int64_t looks_left(const JobPlan& plan, const JobState& state) {
  const int64_t every = plan.life.eval_every > 0 ? plan.life.eval_every : std::max<int64_t>(1, state.steps / plan.job.epochs);
  return (state.steps + every - 1) / every - state.step / every;
}

}  // namespace

const char* job_end_name(JobEnd end) {
  switch (end) {
    case JobEnd::kFinished: return "finished";
    case JobEnd::kStoppedEarly: return "stopped early";
    case JobEnd::kLostSweep: return "lost its sweep";
    case JobEnd::kFailed: return "failed";
  }
  return "";
}

RunLoop::RunLoop(RunParts parts)
    : parts_(std::move(parts)),
      jobs_(parts_.jobs),
      trainer_(*parts_.trainer),
      clock_(parts_.services.clock != nullptr ? parts_.services.clock : &real_clock_),
      checkpoints_(checkpoint_folder(parts_.spec.out)),
      begin_(clock_->now()) {}

double RunLoop::seconds() const { return ended_seconds_ >= 0 ? ended_seconds_ : parts_.seconds_before + to_seconds(now() - begin_); }

void RunLoop::note(const std::string& text) {
  parts_.notes.push_back(text);
  log_->note(text, seconds());
  observer_->on_note(text);
}

WorkLeft RunLoop::work_left() const {
  WorkLeft left;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const RunJob& job = jobs_[i];
    const JobState& state = trainer_.state(i);
    if (!state.running() || job.steps_seen == 0) continue;
    left.train_tokens += static_cast<double>(job.tokens_seen) / static_cast<double>(job.steps_seen) * static_cast<double>(state.steps - state.step);
    if (job.held_out) left.eval_tokens += static_cast<double>(job.held_out_tokens * looks_left(job.plan, state));
  }
  return left;
}

void RunLoop::estimate() {
  expected_ = {.steps_probed = pace_.steps(), .probed_seconds = to_seconds(now() - begin_), .expected_seconds = seconds() + pace_.left_seconds(work_left())};
}

Result<TimeEstimate> RunLoop::probe() {
  begin_ = now();
  for (size_t i = 0; i < jobs_.size(); ++i) {
    if (!jobs_[i].held_out) continue;
    const TimePoint before = now();
    (void)trainer_.evaluate(i, *jobs_[i].held_out);
    pace_.add_eval(jobs_[i].held_out_tokens, to_seconds(now() - before));
    if (to_seconds(now() - begin_) > kProbeEvalSeconds) break;
  }
  const TimePoint first = now();
  for (int64_t step = 0; step < kProbeSteps && (step < 2 || to_seconds(now() - first) < kProbeSeconds); ++step) {
    const TimePoint before = now();
    const auto reports = trainer_.step();
    if (reports.empty()) break;
    int64_t tokens = 0;
    for (const StepReport& report : reports) {
      tokens += report.tokens;
      jobs_[report.index].tokens_seen += report.tokens;
      ++jobs_[report.index].steps_seen;
    }
    pace_.add_step(tokens, to_seconds(now() - before));
  }
  for (size_t i = 0; i < jobs_.size(); ++i) RETURN_IF_ERROR(trainer_.state(i).status);
  estimate();
  return expected_;
}

Result<std::vector<JobOutcome>> RunLoop::run(RunObserver& observer) {
  CHECK(observer_ == nullptr, "a run is run once");
  observer_ = &observer;
  begin_ = now();
  if (parts_.resumed) RETURN_IF_ERROR(checkpoints_.remove_after(parts_.round));
  if (!parts_.resumed) RETURN_IF_ERROR(checkpoints_.remove_all());
  remove_unfinished(parts_.spec.out / kReportName);
  std::vector<std::string> names;
  for (const RunJob& job : jobs_) names.push_back(job.plan.job.name);
  ASSIGN_OR_RETURN(RunLog log, RunLog::open(parts_.spec.out, names, parts_.log_marks));
  log_ = std::make_unique<RunLog>(std::move(log));
  const bool all_closed = std::all_of(jobs_.begin(), jobs_.end(), [](const RunJob& job) { return job.closed; });
  if (all_closed) return finish();
  if (parts_.resumed) note("resumed from the checkpoint of step " + std::to_string(parts_.round));
  for (size_t i = 0; i < jobs_.size(); ++i) {
    if (jobs_[i].held_out && !jobs_[i].base_look) RETURN_IF_ERROR(look(i, 0));
  }
  RETURN_IF_ERROR(close_jobs());  // of a resumed run: those whose folder could not be written
  while (true) {
    ASSIGN_OR_RETURN(const bool stepped, round());
    if (!stepped) return finish();
    if (!observer.stop_requested()) continue;
    RETURN_IF_ERROR(save());
    return Status(Code::kCancelled, "interrupted at step " + std::to_string(parts_.round) + "; everything is saved, go on by --resume");
  }
}

Result<bool> RunLoop::round() {
  const TimePoint before = now();
  const std::vector<StepReport> reports = trainer_.step();
  if (reports.empty()) return false;
  ++parts_.round;
  int64_t tokens = 0;
  for (const StepReport& report : reports) {
    tokens += report.tokens;
    jobs_[report.index].tokens_seen += report.tokens;
    ++jobs_[report.index].steps_seen;
  }
  pace_.add_step(tokens, to_seconds(now() - before));
  left_seconds_ = pace_.steps() >= kProbeSteps ? pace_.left_seconds(work_left()) : 0;
  for (const StepReport& report : reports) RETURN_IF_ERROR(after_step(report));
  halve();
  RETURN_IF_ERROR(close_jobs());
  if (pace_.steps() == kProbeSteps) {
    estimate();
    note("expected time: " + format_seconds(expected_.expected_seconds) + " in all, from " + std::to_string(kProbeSteps) +
         " steps (if no job ends before its last step)");
  }
  RETURN_IF_ERROR(log_->flush().with_context("the log can't be written; what was written before stands: make room and go on by --resume"));
  if (checkpoint_due(reports)) RETURN_IF_ERROR(save());
  return true;
}

Status RunLoop::after_step(const StepReport& report) {
  RunJob& job = jobs_[report.index];
  const JobState& state = trainer_.state(report.index);
  job.outcome.step = state.step;
  job.outcome.last_loss = report.loss;
  job.loss_sum += report.loss;
  ++job.loss_count;
  log_->step(report, seconds());
  observer_->on_step(report, {.seconds = seconds(), .tokens_per_second = pace_.tokens_per_second(), .left_seconds = left_seconds_});
  Status verdict = state.status;
  if (verdict.ok()) verdict = job.detector.on_step(report);
  if (!verdict.ok()) {
    end_job(report.index, JobEnd::kFailed, verdict, "");
    return ok_status();
  }
  bool at_look = false;  // of its sweep, at its own step
  for (const SweepSpec& sweep : parts_.spec.sweeps) {
    if (sweep.name != job.plan.sweep) continue;
    for (const double share : sweep.halve_at) at_look |= look_step(share, report.steps) == report.step;
  }
  const bool last = report.step == report.steps;
  if (job.held_out && (last || at_look || due(report, job.plan.life.eval_every))) RETURN_IF_ERROR(look(report.index, report.step));
  if (at_look) {
    job.sweep_scores.push_back(job.held_out ? score_of(job.last_look->report, job.plan.life.best_by) : job.mean_loss());
    job.sweep_ties.push_back(job.held_out ? tie_of(job.last_look->report, job.plan.life.best_by) : 0);
    job.loss_sum = 0;
    job.loss_count = 0;
  }
  if (last && !job.ended) end_job(report.index, JobEnd::kFinished, ok_status(), "");
  return ok_status();
}

// Of the same rows it is one figure, whoever asks.
EvalReport RunLoop::base_report(size_t index) {
  const RunJob& job = jobs_[index];
  const JobSpec& spec = job.plan.job;
  const bool random = spec.kind == TrainKind::kFull && spec.full.init == FullInit::kRandom;  // there is no base then
  if (random) return trainer_.evaluate(index, *job.held_out);
  const auto found = base_reports_.find(job.held_out.get());
  if (found != base_reports_.end()) return found->second;
  return base_reports_[job.held_out.get()] = trainer_.evaluate_base(index, *job.held_out);
}

// What the job begins with: the base, but for start_from and noise.
EvalReport RunLoop::start_report(size_t index) {
  RunJob& job = jobs_[index];
  const EvalReport base = base_report(index);
  job.outcome.base_eval = base;
  if (job.plan.start_from.empty() && job.plan.job.flora_init != FloraInit::kOnesNoise) return base;
  const EvalReport start = trainer_.evaluate(index, *job.held_out);
  if (!job.plan.start_from.empty()) job.outcome.start_eval = start;
  return start;
}

// Evaluates; a failed disk is the run's failure, a failed job is not.
Status RunLoop::look(size_t index, int64_t step) {
  RunJob& job = jobs_[index];
  const TimePoint before = now();
  EvalEvent event{.job = job.plan.job.name, .step = step, .rows = static_cast<int64_t>(job.held_out->examples.size()),
                  .report = step == 0 ? start_report(index) : trainer_.evaluate(index, *job.held_out), .best = false, .base_loss = 0};
  pace_.add_eval(job.held_out_tokens, to_seconds(now() - before));
  const EvalReport& start = step == 0 ? event.report : job.base_look->report;
  event.base_loss = start.loss;
  event.base_exact_rows = start.exact_rows;
  event.best = step > 0 && std::isfinite(event.report.loss) &&
               (!job.best_look || is_better(event.report, job.best_look->report, job.plan.life.best_by));
  if (event.best) {
    if (job.plan.life.keep_best) {
      RETURN_IF_ERROR(checkpoints_.write_best({index, step}, value_tensors(trainer_.adapter(index).parameters()))
                          .with_context("the best adapter so far can't be kept; what was written before stands, go on by --resume"));
    }
    job.best_step = step;
    job.best_loss = event.report.loss;
    job.best_look = event;
  }
  if (step == 0) job.base_look = event;
  job.last_look = event;
  job.outcome.eval = event.report;
  job.looks_since_best = event.best ? 0 : job.looks_since_best + (step > 0 ? 1 : 0);
  log_->eval(event, seconds());
  observer_->on_eval(event);
  const Status verdict = job.detector.on_eval(event, trainer_.state(index).steps);
  if (!verdict.ok()) {
    end_job(index, JobEnd::kFailed, verdict, "");
  } else if (job.plan.life.patience > 0 && job.looks_since_best >= job.plan.life.patience && step < trainer_.state(index).steps) {
    end_job(index, JobEnd::kStoppedEarly, ok_status(),
            std::string("no better held-out ") + (job.plan.life.best_by == BestBy::kLoss ? "loss" : "exact match") + " for " + std::to_string(job.looks_since_best) + " evaluations");
  }
  return ok_status();
}

void RunLoop::end_job(size_t index, JobEnd end, Status status, std::string note) {
  RunJob& job = jobs_[index];
  job.ended = true;
  job.outcome.end = end;
  job.outcome.status = status;
  job.outcome.note = std::move(note);
  trainer_.stop(index, std::move(status));
}

std::vector<SweepArm> RunLoop::arms_of(const SweepSpec& sweep) const {
  std::vector<SweepArm> arms;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const RunJob& job = jobs_[i];
    if (job.plan.sweep != sweep.name) continue;
    arms.push_back({.job = i, .step = trainer_.state(i).step, .steps = trainer_.state(i).steps, .running = !job.ended,
                    .failed = job.ended && job.outcome.end == JobEnd::kFailed, .lost = job.ended && job.outcome.end == JobEnd::kLostSweep,
                    .score = 0});
  }
  return arms;
}

void RunLoop::halve() {
  for (size_t s = 0; s < parts_.spec.sweeps.size(); ++s) {
    const SweepSpec& sweep = parts_.spec.sweeps[s];
    size_t& look = parts_.sweep_looks[s];
    while (look < sweep.halve_at.size() && look_due(arms_of(sweep), sweep.halve_at[look])) halve(sweep, look++);
  }
}

void RunLoop::halve(const SweepSpec& sweep, size_t look) {
  std::vector<SweepArm> arms = arms_of(sweep);
  for (SweepArm& arm : arms) {
    const RunJob& job = jobs_[arm.job];
    // An arm that ended before its look stands with what it reached.
    const bool looked = look < job.sweep_scores.size();
    arm.score = looked ? job.sweep_scores[look] : job.best_look ? score_of(job.best_look->report, job.plan.life.best_by) : job.mean_loss();
    arm.tie = looked ? job.sweep_ties[look] : job.best_look ? tie_of(job.best_look->report, job.plan.life.best_by) : 0;
  }
  const std::vector<size_t> out = losers(arms);
  const auto best = winner(arms);
  if (out.empty() || !best) return;
  const auto score = [&](size_t index) {
    return number(std::find_if(arms.begin(), arms.end(), [&](const SweepArm& arm) { return arm.job == index; })->score);
  };
  const RunJob& first = jobs_[*best];
  const std::string measure = first.held_out ? score_name(first.plan.life.best_by) : "loss";
  const std::string when = "at " + number(100 * sweep.halve_at[look]) + " % of its steps";
  for (const size_t index : out) {
    end_job(index, JobEnd::kLostSweep, ok_status(),
            "stopped " + when + ": " + measure + " " + score(index) + ", the best arm " + jobs_[*best].plan.job.name + " has " + score(*best));
  }
  note("sweep " + sweep.name + " " + when + ": " + std::to_string(out.size()) + (out.size() == 1 ? " arm" : " arms") + " stopped, best " + jobs_[*best].plan.job.name + " (" +
       score(*best) + ")");
}

bool RunLoop::checkpoint_due(const std::vector<StepReport>& reports) const {
  bool asked = false, epoch = false;
  for (const StepReport& report : reports) {
    const int64_t every = jobs_[report.index].plan.life.checkpoint_every;
    asked |= every > 0 && report.step % every == 0;
    epoch |= every == 0 && ends_epoch(report);
  }
  return asked || (epoch && (seconds() - saved_at_) * kCheckpointShare >= save_cost_);
}

}  // namespace umbel::train
