// Trainer: many jobs over one frozen base: every step takes the next batch of every job, computes them side by side, a thread
// each (train/lanes.h), or in passes that all threads share, and updates each job's adapter by itself.
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
#include "data/dataset.h"
#include "models/model.h"
#include "train/kinds/trainable.h"

namespace umbel::train {

struct TrainOptions {
  kernels::Choice choice;
  int threads = 1;
  int64_t pass_rows_max = 1024;  // rows computed at one time, in one pass or in all lanes; a longer sequence gets a pass of its own
  Keep keep = Keep::kAll;        // kLayerInputs: activations are computed again in the backward pass
};

// What a run takes, in bytes: known before anything is computed.
struct MemoryPlan {
  size_t weights = 0;      // frozen
  size_t adapters = 0;     // masters, gradients, optimizer moments of all jobs
  size_t activations = 0;  // kept for the backward pass, and the residual stream
  size_t scratch = 0;      // of one layer or one chunk of logits
  size_t kv = 0;           // keys and values of one layer

  size_t beyond_weights() const { return adapters + activations + scratch + kv; }
};

// After one optimizer step of one job.
struct StepReport {
  std::string job;
  size_t index = 0;   // of add_job
  int64_t step = 0;   // 1 ..
  int64_t steps = 0;
  double epoch = 0;
  double loss = 0;    // mean over the trained tokens of the step, nats
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  int64_t tokens = 0;        // rows computed in this step
};

// Where a job stands.
struct JobState {
  std::string name;
  Status status;            // not ok: stopped, and why
  bool stopped = false;     // by stop(), or by a loss or gradient that is not a number
  int64_t step = 0;         // optimizer steps done
  int64_t steps = 0;        // of the whole job
  double last_loss = 0;

  bool running() const { return !stopped && step < steps; }
};

// A job's answers to rows that it is not trained on, teacher-forced.
struct EvalReport {
  double loss = 0;            // mean per trained token, nats
  int64_t tokens = 0;         // trained tokens
  double token_accuracy = 0;  // share of trained tokens that are the argmax
  double exact_rows = 0;      // share of rows whose every trained token is the argmax
  double same_answer = 0;     // share of rows whose argmax sequence is the most frequent one
  double same_reference = 0;  // the same share among the references
  int64_t rows = 0;
};

class Trainer {
 public:
  // The model must be trainable. Memory is taken when the first pass needs it; plan() says how much.
  static Result<std::unique_ptr<Trainer>> create(std::shared_ptr<const Model> model, const TrainOptions& options);
  virtual ~Trainer() = default;

  // The data set outlives the trainer. base_name goes into adapter_config.json.
  virtual Status add_job(const JobSpec& spec, const data::Dataset& data, const std::string& base_name) = 0;
  virtual size_t jobs() const = 0;
  virtual const JobState& state(size_t index) const = 0;
  // One optimizer step of every running job, in shared passes; a report for each, in the order of jobs. Empty when none runs.
  virtual std::vector<StepReport> step() = 0;
  // The job takes no more steps. A status that is not ok says why it failed; ok = it ended early on purpose.
  virtual void stop(size_t index, Status status) = 0;
  // What the job's adapter, as it stands, makes of a data set. Changes nothing.
  virtual EvalReport evaluate(size_t index, const data::Dataset& data) = 0;
  // What the base alone makes of it, in its own arithmetic: one figure for all jobs over one base. The job lends its place.
  virtual EvalReport evaluate_base(size_t index, const data::Dataset& data) = 0;
  // The whole state of a job is its step and its parameters' value and optimizer state (everything else is a pure function of JobSpec, data
  // and step). After writing saved ones into adapter(index).parameters(): goes on from there.
  virtual void resume(size_t index, const JobState& state) = 0;
  virtual TrainableAdapter& adapter(size_t index) = 0;
  // Of the jobs so far with the options given; what step() then takes.
  virtual MemoryPlan plan() const = 0;
};

// All jobs to their ends; progress after every step of every job.
void run_all(Trainer& trainer, const std::function<void(const StepReport&)>& progress);

}  // namespace umbel::train
