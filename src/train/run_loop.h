// RunLoop: TrainRun as it is carried out. Made by run_setup.cc, run by run.cc; not for others.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/file.h"
#include "train/checkpoint.h"
#include "train/halving.h"
#include "train/run.h"
#include "train/run_log.h"
#include "train/run_pace.h"
#include "train/run_report.h"
#include "train/run_state.h"

namespace umbel {

inline constexpr const char* kReportName = "report.html";

// What create() has made ready. job[i] is the trainer's job i.
struct RunParts {
  RunSpec spec;
  RunServices services;
  std::vector<RunJob> jobs;
  std::vector<LoadedData> data;
  std::unique_ptr<Trainer> trainer;
  std::vector<size_t> sweep_looks;  // of each sweep: how many are over
  // From the checkpoint that the run goes on from.
  bool resumed = false;
  int64_t round = 0;
  double seconds_before = 0;
  Json log_marks;                   // null: from the beginning
  std::vector<std::string> notes;   // of earlier processes too
};

Path checkpoint_folder(const Path& run_folder);
// What all jobs' results depend on: arithmetic, program, base.
Json run_identity(const RunServices& services);

class RunLoop final : public TrainRun {
 public:
  explicit RunLoop(RunParts parts);

  const std::vector<LoadedData>& data() const override { return parts_.data; }
  Trainer& trainer() override { return *parts_.trainer; }
  Result<TimeEstimate> probe() override;
  Result<std::vector<JobOutcome>> run(RunObserver& observer) override;
  TimeEstimate expected() const override { return expected_; }
  double seconds() const override;

 private:
  // A step of all jobs, and what follows from it. False: no job runs any more.
  Result<bool> round();
  Status after_step(const StepReport& report);
  Status look(size_t index, int64_t step);
  void end_job(size_t index, JobEnd end, Status status, std::string note);

  std::vector<SweepArm> arms_of(const SweepSpec& sweep) const;
  void halve();
  void halve(const SweepSpec& sweep, size_t look);
  void name_winners();

  // Jobs that take no more steps: judged, written, told.
  Status close_jobs();
  void close(size_t index);
  Status write_adapter(size_t index);

  bool checkpoint_due(const std::vector<StepReport>& reports) const;
  Status save();
  Json state_json() const;
  Status write_report() const;
  Result<std::vector<JobOutcome>> finish();
  void note(const std::string& text);
  WorkLeft work_left() const;
  void estimate();
  TimePoint now() const { return clock_->now(); }

  RunParts parts_;
  std::vector<RunJob>& jobs_;
  Trainer& trainer_;
  RealClock real_clock_;
  const Clock* clock_;
  RunObserver* observer_ = nullptr;
  std::unique_ptr<RunLog> log_;
  Checkpoints checkpoints_;
  Pace pace_;
  double left_seconds_ = 0;
  TimePoint begin_{};
  double ended_seconds_ = -1;  // of the whole, once it is over
  TimeEstimate expected_;
  int64_t saved_round_ = -1;
  double saved_at_ = 0, save_cost_ = 0;  // seconds
};

}  // namespace umbel
