// TrainRun: the life of one `umbel train`: the jobs of a RunSpec over one base, from the data files to the written adapters.
//
// In the folder of the run (RunSpec::out):
//   train_log.jsonl    one object per step and job, per evaluation, per end of a job (run_log.h)
//   tensorboard/JOB/   the same curves as TensorBoard event files (tensorboard.h)
//   report.html        curves, table of jobs, configuration (run_report.h)
//   checkpoints/       what --resume goes on from (checkpoint.h)
// and in each job's own folder, at its end: the PEFT adapter, README.md, umbel_prompt.json, chat_template.jinja when the base has one, generation_config.json when
// turns end with a token that does not end the base's answers. That folder
// has no adapter_config.json before everything else is in place.
//
// A run that is killed at any moment and resumed writes the same adapters, byte for byte, as one that never was: a job is a pure
// function of its spec, its data and its step. A job that fails is stopped and says why; the others go on. When the disk is full
// or a folder of the run can't be written, run() ends with a Status, what is written stays, and the run can be resumed.
// One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kernels/choice.h"
#include "models/model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/job/run_spec.h"
#include "train/report/run_events.h"
#include "train/step/trainer.h"

namespace umbel::train {

// What a run works with. Pointers are shared or outlive the run.
struct RunServices {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: the base has none
  std::string base_name;                              // goes into adapter_config.json
  std::string base_fingerprint;                       // weights_fingerprint() of its files; "" = none (random weights)
  TokenId eos = -1;                                   // trained after a completion; -1 = none
  std::vector<TokenId> ends;                          // what ends the base's answers (eos is the first); empty = eos alone
  kernels::Choice choice;
  int threads = 1;
  bool plan_only = false;       // for trainer().plan() and probe(): makes no folder; run() must not be called
  bool resume = false;          // go on from the last checkpoint in RunSpec::out, if there is one
  std::string version;          // of the program
  std::string command;          // as typed, for the cards; may be empty
  const Clock* clock = nullptr; // null = the real one
  // null = Trainer::create.
  std::function<Result<std::unique_ptr<Trainer>>(std::shared_ptr<const Model>, const TrainOptions&)> make_trainer;
};

// A loaded data file, for messages before the run: skipped rows, counts.
struct LoadedData {
  std::string file;
  std::shared_ptr<const data::Dataset> rows;
};

// From the first ten steps (with their share of evaluation) to the whole.
struct TimeEstimate {
  int64_t steps_probed = 0;       // of all jobs together, in rounds
  double probed_seconds = 0;
  double expected_seconds = 0;    // of the whole run, probe included
};

// The instruction set and arithmetic that a run was computed with, from its last checkpoint: what choose() is asked for on resume.
struct RecordedChoice {
  std::string isa, arithmetic;
};
// Nothing when the folder holds no checkpoint.
Result<std::optional<RecordedChoice>> recorded_choice(const Path& run_folder);

class TrainRun {
 public:
  // Model opened, data loaded, jobs added, folders made; nothing computed. kInvalidArgument / kFailedPrecondition name job, file,
  // line or field, of all jobs at once (problems.h). With resume: kFailedPrecondition names the field of spec, data, arithmetic or program version that is not
  // what the checkpoint was made with. Without: refused when the folder holds the checkpoints of a run that has not ended.
  static Result<std::unique_ptr<TrainRun>> create(RunSpec spec, RunServices services);
  virtual ~TrainRun() = default;

  virtual const std::vector<LoadedData>& data() const = 0;
  // What is wrong with held-out rows: they are among the training rows too, or have one answer. A sentence each.
  virtual const std::vector<std::string>& warnings() const = 0;
  virtual Trainer& trainer() = 0;
  // Ten steps, not logged and not kept: call it instead of run().
  virtual Result<TimeEstimate> probe() = 0;
  // All jobs to their ends. Failed jobs are outcomes, not a failure of the run. Once.
  virtual Result<std::vector<JobOutcome>> run(RunObserver& observer) = 0;
  // Valid after run().
  virtual TimeEstimate expected() const = 0;
  virtual double seconds() const = 0;
};

}  // namespace umbel::train
