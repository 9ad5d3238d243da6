// RunLoop: TrainRun as it is carried out. Made by run_setup.cc, run by run.cc; not for others.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/file.h"
#include "train/report/run_log.h"
#include "train/report/run_pace.h"
#include "train/report/run_report.h"
#include "train/run/checkpoint.h"
#include "train/run/halving.h"
#include "train/run/run.h"
#include "train/run/run_state.h"

namespace umbel::train {

inline constexpr const char* kReportName = "report.html";

// What create() has made ready. job[i] is the trainer's job i.
struct RunParts {
  RunSpec spec;
  RunServices services;
  std::vector<RunJob> jobs;
  std::vector<LoadedData> data;
  std::vector<std::string> warnings;
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
  const std::vector<std::string>& warnings() const override { return parts_.warnings; }
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
  EvalReport base_report(size_t index);
  EvalReport start_report(size_t index);
  void end_job(size_t index, JobEnd end, Status status, std::string note);

  std::vector<SweepArm> arms_of(const SweepSpec& sweep) const;
  void halve();
  void halve(const SweepSpec& sweep, size_t look);

  // Jobs that take no more steps: judged, written, told. Arms of which only the best is kept wait for each other.
  Status close_jobs();
  const SweepSpec* sweep_of(const RunJob& job) const;
  bool all_ended(const SweepSpec& sweep) const;
  void judge(size_t index);
  void decide(const SweepSpec& sweep);
  void close(size_t index);
  Status write_adapter(size_t index, const JobPlan& plan);

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
  std::map<const data::Dataset*, EvalReport> base_reports_;  // by held-out rows
  Checkpoints checkpoints_;
  Pace pace_;
  double left_seconds_ = 0;
  TimePoint begin_{};
  double ended_seconds_ = -1;  // of the whole, once it is over
  TimeEstimate expected_;
  int64_t saved_round_ = -1;
  double saved_at_ = 0, save_cost_ = 0;  // seconds
};

}  // namespace umbel::train
