// RunLog: what happens in a run, written as it happens: FOLDER/train_log.jsonl and FOLDER/tensorboard/JOB/.
//
// A line is one object; "event" says of what kind:
//   step  job, step, epoch, loss, learning_rate, gradient_norm, tokens, seconds
//   eval  job, step, loss, rows, tokens, exact_rows, same_answer, same_reference, best, base_loss, seconds
//   end   job, step, end ("finished", "stopped early", "lost its sweep", "failed"), note, written, seconds
//   note  text, seconds
// A number that is none (NaN, infinity) is null. After a resume both kinds of files go on where the checkpoint stood: what a
// killed run had written after it is cut off, so that no step stands there twice.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/append_file.h"
#include "io/json.h"
#include "train/report/run_events.h"
#include "train/report/run_history.h"

namespace umbel::train {

inline constexpr const char* kRunLogName = "train_log.jsonl";

// Move-only; one thread. Events are held until flush().
class RunLog {
 public:
  // marks: what marks() gave at the checkpoint that the run goes on from; null = begin anew, over what is there. jobs: their
  // names, safe in a path.
  static Result<RunLog> open(const Path& folder, const std::vector<std::string>& jobs, const Json& marks);

  // seconds: of the run so far.
  void step(const StepReport& report, double seconds);
  void eval(const EvalEvent& event, double seconds);
  void end(const JobOutcome& outcome, double seconds);
  void note(const std::string& text, double seconds);

  // Survives the death of the process; TensorBoard's files at most once a second.
  Status flush();
  // Everything, to the disk.
  Status sync();
  // How long the files are, after sync().
  Json marks() const;
  const RunHistory& history() const { return history_; }

 private:
  struct Events {
    Path path;
    uint64_t size = 0;
    std::string pending;
  };
  explicit RunLog(AppendFile lines) : lines_(std::move(lines)) {}
  void line(const Json& object);
  void scalar(const std::string& job, int64_t step, const char* tag, double value);
  // Opened only to be written: a run may have more jobs than a process may have open files.
  Status write_events(bool to_disk);

  AppendFile lines_;
  std::map<std::string, Events> events_;  // by job
  double events_written_ = 0;             // when, wall clock
  RunHistory history_;
};

}  // namespace umbel::train
