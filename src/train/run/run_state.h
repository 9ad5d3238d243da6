// RunJob: what a run remembers of a job between steps, and its form in a checkpoint. Plain data, beside the trainer's own
// (step, parameters, moments).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "train/job/run_spec.h"
#include "train/report/run_events.h"
#include "train/run/failure.h"
#include "train/step/trainer.h"

namespace umbel::train {

struct RunJob {
  explicit RunJob(JobPlan job_plan) : plan(std::move(job_plan)), detector(plan.job.name, plan.life) {
    outcome.name = plan.job.name;
    outcome.out = plan.out;
    outcome.sweep = plan.sweep;
  }

  JobPlan plan;
  std::shared_ptr<const data::Dataset> data;
  std::shared_ptr<const data::Dataset> held_out;  // null: no evaluation
  int64_t skipped_rows = 0;
  int64_t held_out_tokens = 0;    // rows that one look computes
  Json identity;                  // job_identity()
  FailureDetector detector;
  JobOutcome outcome;

  std::optional<EvalEvent> base_look, last_look, best_look;
  int64_t best_step = -1;         // -1: none yet (step 0 doesn't count)
  double best_loss = 0;
  int64_t looks_since_best = 0;
  std::vector<double> sweep_scores;  // at its own step of each look of its sweep
  std::vector<double> sweep_ties;    // what decides between equal ones: the held-out loss, 0 where that is the score
  double loss_sum = 0;               // of training since the last of them
  int64_t loss_count = 0;

  bool ended = false;   // takes no more steps: outcome.end and status say how
  bool closed = false;  // and nothing is left to be done (written, or not to be written)

  // Not in a checkpoint.
  bool write_tried = false;    // by this process
  int64_t tokens_seen = 0, steps_seen = 0;

  // The step whose adapter is written.
  int64_t chosen_step(int64_t last_step) const { return plan.life.keep_best && best_step > 0 ? best_step : last_step; }
  // The look at the adapter that is written; null without held-out rows.
  const EvalEvent* chosen_look(int64_t last_step) const {
    if (best_look && chosen_step(last_step) == best_look->step) return &*best_look;
    return last_look ? &*last_look : nullptr;
  }
  double mean_loss() const { return loss_count > 0 ? loss_sum / static_cast<double>(loss_count) : outcome.last_loss; }
};

// What its result depends on (run_fields.h), to be compared on resume. Reads all its data: asked once.
Json job_identity(const RunJob& job);

Json job_to_json(const RunJob& job, const JobState& state);
// Into a job of the same identity; the trainer's part is returned. kDataLoss names the field.
Result<JobState> restore_job(RunJob& job, const Json& json);

}  // namespace umbel::train
