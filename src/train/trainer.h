// Trainer: many jobs over one frozen base: every step takes the next batch of every job, lays all rows into shared passes,
// and updates each job's adapter by itself.
//
// A job's trajectory does not depend on who trains beside it, nor on threads: its gradient sums its own rows in ascending
// order, its loss is the mean over its own trained tokens of the whole optimizer step, its clip and moments are its own.
// Owned by one thread; const base.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "models/model.h"
#include "train/dataset.h"
#include "train/trainable.h"

namespace umbel {

struct TrainOptions {
  kernels::Choice choice;
  int threads = 1;
  int64_t pass_rows_max = 1024;  // rows of one pass; a longer sequence gets a pass of its own
};

// After one optimizer step of one job.
struct StepReport {
  const std::string& job;
  int64_t step = 0;   // 1 ..
  int64_t steps = 0;
  double epoch = 0;
  double loss = 0;    // mean over the trained tokens of the step, nats
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  int64_t tokens = 0;        // rows computed in this step
};

// What became of a job.
struct JobResult {
  std::string name;
  Status status;            // not ok: stopped (loss or gradient not a number)
  int64_t steps = 0;
  double final_loss = 0;
};

class Trainer {
 public:
  // The model must be trainable. Memory is taken here; memory_bytes() says how much.
  static Result<std::unique_ptr<Trainer>> create(std::shared_ptr<const Model> model, const TrainOptions& options);
  virtual ~Trainer() = default;

  // Before run(). The data set outlives the trainer. base_name goes into adapter_config.json.
  virtual Status add_job(const JobSpec& spec, const Dataset& data, const std::string& base_name) = 0;
  // All jobs to their ends.
  virtual std::vector<JobResult> run(const std::function<void(const StepReport&)>& progress) = 0;
  // Mean loss per trained token of a data set under job `index` as it stands.
  virtual double evaluate(size_t index, const Dataset& data) = 0;
  virtual TrainableAdapter& adapter(size_t index) = 0;
  virtual size_t memory_bytes() const = 0;  // beyond the frozen weights
};

}  // namespace umbel
