// What a training run says about itself while it goes on: to whoever prints, and to its logs. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "io/file.h"
#include "train/step/trainer.h"

namespace umbel::train {

// How fast the run goes, at the moment of a step.
struct RunPace {
  double seconds = 0;            // of computing so far, those before a resume included
  double tokens_per_second = 0;  // trained rows, all jobs together, since this process began
  double left_seconds = 0;       // until the last job ends; 0 = not known yet (before the tenth step)
};

// One look at a job's held-out rows.
struct EvalEvent {
  std::string job;
  int64_t step = 0;      // 0: before training: the base itself (every kind starts as the identity), or what start_from gave
  int64_t rows = 0;
  EvalReport report;
  bool best = false;     // better than every one before, by the job's best_by
  double base_loss = 0;  // at step 0
  double base_exact_rows = 0;
};

enum class JobEnd : uint8_t {
  kFinished,      // all steps done
  kStoppedEarly,  // patience was over
  kLostSweep,     // stopped because other arms of its sweep were better; nothing is written
  kFailed,        // status says why; nothing is written
};

// "finished", "stopped early", "lost its sweep", "failed".
const char* job_end_name(JobEnd end);

struct JobOutcome {
  std::string name;
  JobEnd end = JobEnd::kFinished;
  Status status;             // not ok: failed, in training or when its folder was written
  std::string note;          // why it ended before its last step; empty otherwise
  Path out;                  // the adapter's folder
  bool written = false;      // out holds this job's adapter
  int64_t step = 0;          // optimizer steps done
  int64_t steps = 0;         // of the whole job
  int64_t written_step = 0;  // the step whose adapter is in out (that of the best evaluation, or the last)
  double last_loss = 0;      // of training, nats per token
  // On the held-out rows, where there are any. `eval` is of the written adapter (of the last look when nothing is written).
  std::optional<EvalReport> base_eval;   // the base alone (init random: the weights before the first step)
  std::optional<EvalReport> start_eval;  // what start_from gave
  std::optional<EvalReport> eval;
  std::string sweep;         // its sweep, or empty
  bool sweep_winner = false;
};

// Called on the run's thread, between computations. The defaults do nothing.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_step(const StepReport& /*report*/, const RunPace& /*pace*/) {}
  virtual void on_eval(const EvalEvent& /*event*/) {}
  virtual void on_end(const JobOutcome& /*outcome*/) {}
  // A sentence: where a resumed run goes on, expected time, a halved sweep.
  virtual void on_note(const std::string& /*note*/) {}
  // Asked after every step: true = write a checkpoint and leave (run() gives kCancelled).
  virtual bool stop_requested() { return false; }
};

}  // namespace umbel::train
