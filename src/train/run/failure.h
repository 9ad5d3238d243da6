// FailureDetector: notices that a job has gone wrong, from its reports alone. Policy: values in, a verdict out; its whole state
// goes into checkpoints.
//
// What it calls a failure:
//   spike        three losses in a row, each more than `spike` times the mean of the last 20 ordinary ones and more than half of
//                the mean of the job's first losses (a learned task's tiny losses jump by large factors without harm)
//   no gradient  the gradient's norm was exactly 0 for five steps in a row
//   worse        than the start (the base, or what start_from gave) on the held-out rows, by the job's best_by: three looks in a row in the second half of the job, or (at_end) what would
//                be written
//   collapsed    one same answer on >= 95 % of at least 8 held-out rows while the references agree on a share that is lower by
//                0.2 or more: two looks in a row in the second half of the job, or the last look
// A loss or gradient that is not a number stops the job in the trainer itself.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "train/job/run_spec.h"
#include "train/report/run_events.h"

namespace umbel::train {

class FailureDetector {
 public:
  FailureDetector(const std::string& job, const JobLife& life) : job_(job), life_(life) {}

  // Each: ok, or why the job must stop.
  Status on_step(const StepReport& report);
  // steps: of the whole job.
  Status on_eval(const EvalEvent& event, int64_t steps);
  // At the job's regular end, the last looked-at adapter being `last` and the one that would be written `chosen`.
  Status at_end(const EvalEvent& last, const EvalEvent& chosen) const;

  Json to_json() const;
  // What to_json() gave; anything else is kDataLoss.
  Status restore(const Json& json);

 private:
  Status spike_verdict(const StepReport& report);
  bool collapsed(const EvalEvent& event) const;
  Status collapse_failure(const EvalEvent& event) const;
  bool worse_than_start(const EvalEvent& event) const;
  std::string against_start(const EvalEvent& event) const;

  std::string job_;
  JobLife life_;
  std::vector<double> ordinary_;  // the last 20 losses that are no spikes, oldest first
  double first_sum_ = 0;          // of the first 20 losses
  int64_t first_count_ = 0;
  int64_t spikes_ = 0, zero_gradients_ = 0, worse_ = 0, collapsed_ = 0;  // in a row
};

}  // namespace umbel::train
