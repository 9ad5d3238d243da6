// RunSpec: what one `umbel train` does: jobs that share one frozen base, each with its data, its folder and its life. Plain
// data; train/config.h makes it from YAML or flags, train/run.h carries it out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "train/job/job.h"

namespace umbel::train {

// What makes one look at held-out rows better than another: a smaller loss, or more rows that are right as a whole (then, of equal ones, a
// smaller loss).
enum class BestBy : uint8_t { kLoss, kExactMatch };
// "loss", "exact_match".
Result<BestBy> parse_best_by(const std::string& name);
std::string best_by_name(BestBy by);  // "" for what is none

// When a job is looked at, saved and given up.
struct JobLife {
  int64_t eval_every = 0;        // optimizer steps between evaluations; 0 = at the end of every epoch
  int64_t patience = 0;          // evaluations without a better one before the job stops early; 0 = never
  BestBy best_by = BestBy::kLoss;
  bool keep_best = true;         // the written adapter is the one of the best evaluation (where there is an eval set)
  int64_t checkpoint_every = 0;  // optimizer steps; 0 = at the end of every epoch
  double spike = 4.0;            // a loss above this many times the mean of the last 20 steps is a spike (three in a row: failed)
  bool worse_than_base_fails = true;  // an adapter that ends (or stays) worse than the base on the eval set is a failure
};

struct JobPlan {
  JobSpec job;
  std::string data;            // file of training rows
  std::string eval_data;       // file of held-out rows; empty = eval_rows, or none
  int64_t eval_rows = 0;       // rows of data held out from training (data/dataset.h: hold_out)
  std::string start_from;      // adapter folder whose numbers the job begins with; empty = the kind's own start
  data::DatasetOptions dataset;      // eos is filled in from the base
  Path out;                    // the adapter's folder
  JobLife life;
  std::string sweep;           // the sweep that this is an arm of; empty = none
  std::string where;           // "run.yaml:12": where it was written, for messages; empty = from flags
};

// Counts, spike, and the ways to hold rows out: kInvalidArgument naming the field.
Status check_life(const JobPlan& plan);

// A sweep's arms are judged when all have ended; the best is written under the job's own name. Early kill of a sweep's losing arms: at each of these shares of the steps, the worse half of the arms still running stops
// (by eval loss, else by the mean training loss since the last look).
enum class SweepKeep : uint8_t { kWinner, kAll };
// "winner", "all".
Result<SweepKeep> parse_sweep_keep(const std::string& name);
std::string sweep_keep_name(SweepKeep keep);  // "" for what is none

struct SweepSpec {
  std::string name;            // of the job that the arms come from
  std::vector<double> halve_at = {0.25, 0.5};
  Path out;                    // the winner's folder, whose last part is the name
  SweepKeep keep = SweepKeep::kWinner;  // kAll: every arm that did not fail is written into its own folder too
};

struct RunSpec {
  std::string base;            // path or name of the base model
  std::string dtype;           // of its weights; empty = the default
  Path out;                    // folder of the run: logs, report, checkpoints
  int64_t threads = 0;         // 0 = all usable CPUs
  int64_t pass_rows = 1024;
  bool recompute = false;      // activations inside a layer are computed again in the backward pass: less memory, more time
  std::vector<JobPlan> jobs;   // at least one; names are distinct
  std::vector<SweepSpec> sweeps;
};

}  // namespace umbel::train
