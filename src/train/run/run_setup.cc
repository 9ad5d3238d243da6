// What comes before a run: everything that can be refused before any compute is spent.
#include <algorithm>
#include <map>
#include <set>

#include "base/problems.h"
#include "data/row_format.h"
#include "store/folder.h"
#include "store/peft_dir.h"
#include "text/adapter_tokenizer.h"
#include "train/run/adapter_folder.h"
#include "train/run/run_fields.h"
#include "train/run/run_loop.h"

namespace umbel::train {
namespace {

Status check_sweeps(const RunSpec& spec) {
  std::set<std::string> names;
  for (const SweepSpec& sweep : spec.sweeps) {
    if (!names.insert(sweep.name).second) return invalid_argument("sweep \"" + sweep.name + "\" stands there twice");
    if (sweep.out.empty()) return invalid_argument("sweep \"" + sweep.name + "\" needs a folder for its winner");
    for (size_t i = 0; i < sweep.halve_at.size(); ++i) {
      const double share = sweep.halve_at[i];
      if (!(share > 0 && share < 1) || (i > 0 && share <= sweep.halve_at[i - 1])) {
        return invalid_argument("sweep \"" + sweep.name + "\": halve_at must be rising shares of the steps, each between 0 and 1");
      }
    }
  }
  for (const JobPlan& plan : spec.jobs) {
    if (!plan.sweep.empty() && !names.contains(plan.sweep)) {
      return invalid_argument(plan.job.name + ": there is no sweep \"" + plan.sweep + "\"");
    }
  }
  return ok_status();
}

// A problem of a job, with its place in the file where it has one.
void add_problem(Problems& problems, const JobPlan& plan, const Status& status) {
  problems.add(plan.where.empty() ? status : status.with_context(plan.where));
}

Status check_spec(const RunSpec& spec) {
  if (spec.jobs.empty()) return invalid_argument("a run needs at least one job");
  Problems problems;
  std::set<std::string> names;
  std::set<Path> folders;
  for (const JobPlan& plan : spec.jobs) {
    const std::string& name = plan.job.name;
    add_problem(problems, plan, check_adapter_name(name).with_context("job \"" + name + "\""));
    if (!names.insert(name).second) add_problem(problems, plan, invalid_argument("two jobs are called \"" + name + "\""));
    if (!folders.insert(plan.out.lexically_normal()).second) {
      add_problem(problems, plan, invalid_argument(name + ": another job writes to \"" + plan.out.string() + "\" too"));
    }
    add_problem(problems, plan, check_job(plan.job));
    add_problem(problems, plan, check_life(plan));
  }
  problems.add(check_sweeps(spec));
  return problems.status();
}

// Files are read once, whatever number of jobs use them the same way.
class DataShelf {
 public:
  explicit DataShelf(const RunServices& services) : services_(services) {}

  struct Rows {
    std::shared_ptr<const data::Dataset> train;     // knows the skipped rows of the whole file
    std::shared_ptr<const data::Dataset> held_out;  // where some are held out
  };
  Result<Rows> load(const std::string& file, data::DatasetOptions options, int64_t held_out) {
    options.eos = services_.eos;
    options.length_max = std::min(options.length_max, services_.model->config().max_position_embeddings);
    for (const Known& known : known_) {
      if (known.file == file && known.options == options && known.held_out == held_out) return known.rows;
    }
    const Path path = file;
    auto loaded = data::load_split({&path, 1}, *services_.tokenizer, services_.chat_template.get(), options, {.rows = held_out});
    if (!loaded.ok()) return loaded.status();
    Rows rows{.train = std::make_shared<const data::Dataset>(std::move(loaded->train))};
    if (held_out > 0) rows.held_out = std::make_shared<const data::Dataset>(std::move(loaded->held_out));
    known_.push_back({file, options, held_out, rows});
    return rows;
  }
  std::vector<LoadedData> loaded() const {
    std::vector<LoadedData> all;
    for (const auto& known : known_) all.push_back({known.file, known.rows.train});
    return all;
  }

 private:
  struct Known {
    std::string file;
    data::DatasetOptions options;
    int64_t held_out;
    Rows rows;
  };
  const RunServices& services_;
  std::vector<Known> known_;
};

// Rows are read with the base's tokenizer: an adapter that was trained with another one would learn other words by its tokens.
Status check_start_words(const JobPlan& plan, const RunServices& services) {
  if (plan.start_from.empty()) return ok_status();
  const int64_t rows = services.model->config().vocab_size;
  const auto own = adapter_tokenizer(text_files_of(Path(plan.start_from)), services.tokenizer, rows);
  if (own.ok() && *own == services.tokenizer) return ok_status();
  return unsupported("start_from: " + (own.ok() ? plan.start_from + " adds tokens to the base's tokenizer, which training can't go on with; give the base that tokenizer"
                                                : own.status().message()));
}

Status load_rows(RunJob& job, DataShelf& shelf) {
  const JobPlan& plan = job.plan;
  ASSIGN_OR_RETURN(const DataShelf::Rows rows, shelf.load(plan.data, plan.dataset, plan.eval_rows));
  job.data = rows.train;
  job.held_out = rows.held_out;
  job.skipped_rows = static_cast<int64_t>(rows.train->skipped.size());
  if (!plan.eval_data.empty()) {
    ASSIGN_OR_RETURN(const DataShelf::Rows looked_at, shelf.load(plan.eval_data, plan.dataset, 0));
    job.held_out = looked_at.train;
  }
  if (job.held_out) {
    for (const data::Example& example : job.held_out->examples) job.held_out_tokens += static_cast<int64_t>(example.tokens.size()) - 1;
  }
  job.identity = job_identity(job);
  return ok_status();
}

// Of held-out rows; each pair of files once, whatever number of jobs use it.
std::vector<std::string> split_warnings(const std::vector<RunJob>& jobs) {
  std::set<std::pair<const data::Dataset*, const data::Dataset*>> seen;
  std::vector<std::string> warnings;
  for (const RunJob& job : jobs) {
    if (!job.held_out || !seen.insert({job.data.get(), job.held_out.get()}).second) continue;
    const std::string& name = job.plan.job.name;
    const size_t rows = job.held_out->examples.size();
    if (const int64_t shared = data::count_shared(*job.data, *job.held_out); shared > 0) {
      warnings.push_back(name + ": " + std::to_string(shared) + " of " + std::to_string(rows) +
                         " held-out examples stand among the training rows too: their loss says nothing about new ones");
    }
    constexpr size_t kRowsMin = 2;
    if (rows < kRowsMin) continue;
    if (data::count_answers(*job.held_out).size() == 1) {
      warnings.push_back(name + ": all " + std::to_string(rows) + " held-out examples have one answer: who always gives it is never wrong");
    }
    if (data::count_answers(*job.data).size() == 1) warnings.push_back(name + ": all training rows have one answer");
  }
  return warnings;
}

// Each sentence once, whatever number of jobs share the template.
std::vector<std::string> template_warnings(const std::vector<RunJob>& jobs) {
  std::set<std::string> seen;
  std::vector<std::string> warnings;
  for (const RunJob& job : jobs) {
    for (const std::string& warning : data::template_warnings(job.plan.dataset)) {
      if (seen.insert(warning).second) warnings.push_back(job.plan.job.name + ": " + warning);
    }
  }
  return warnings;
}

// The masters of an adapter trained before. What its configuration says of the computation has to be what this job's says.
Status start_from(const Path& folder, TrainableAdapter& adapter) {
  ASSIGN_OR_RETURN(const Json before, PeftDir::read_config(folder));
  const Json& now = adapter.config();
  for (const char* field : {"peft_type", "r", "lora_alpha", "alpha_pattern", "use_rslora", "use_dora", "form", "reduction", "flora_alpha", "scale_bias"}) {
    if (!now.contains(field)) continue;
    const Json there = before.value(field, Json());
    const auto says_nothing = [](const Json& value) { return value.is_null() || value == false || (value.is_object() && value.empty()); };
    if (there == now[field] || (says_nothing(there) && says_nothing(now[field]))) continue;
    return invalid_argument("start_from \"" + folder.string() + "\": " + field + " is " + there.dump() + " there and " + now[field].dump() +
                            " in this job; give the job the same");
  }
  ASSIGN_OR_RETURN(const Safetensors file, PeftDir::read_tensors(folder));
  return adapter.start_from(file.tensors()).with_context("start_from \"" + folder.string() + "\"");
}

// The name of a recorded job, as JSON text.
std::string name_in(const Json& recorded) {
  const bool there = recorded.is_object() && recorded.contains("identity") && recorded["identity"].is_object() && recorded["identity"].contains("name");
  return there ? recorded["identity"]["name"].dump() : "?";
}

Status same_jobs(const Json& state, const std::vector<RunJob>& jobs) {
  if (!state.contains("jobs") || !state["jobs"].is_array()) return data_loss("field \"jobs\" is missing");
  const Json& recorded = state["jobs"];
  for (size_t i = 0; i < jobs.size() || i < recorded.size(); ++i) {
    const std::string name = i < jobs.size() ? jobs[i].plan.job.name : "";
    const std::string before = i < recorded.size() ? name_in(recorded[i]) : "";
    if (i >= jobs.size()) return failed_precondition("jobs: the checkpoint also has " + before + "; put it back");
    if (i >= recorded.size()) return failed_precondition("jobs: \"" + name + "\" is not in the checkpoint; train it in a run of its own");
    if (before != Json(name).dump()) {
      return failed_precondition("jobs: the checkpoint has " + before + " where \"" + name + "\" stands now; put them back in order");
    }
    RETURN_IF_ERROR(same_fields(name, recorded[i]["identity"], jobs[i].identity));
  }
  return ok_status();
}

// The checkpoint's state into jobs and trainer.
Status take_up(const Checkpoints::Found& found, RunParts& parts) {
  const Json& state = found.state;
  if (!state.contains("run") || !state.contains("log") || !state.contains("sweep_looks")) return data_loss("fields are missing");
  RETURN_IF_ERROR(same_fields("--resume", state["run"], run_identity(parts.services)));
  RETURN_IF_ERROR(same_jobs(state, parts.jobs));
  ASSIGN_OR_RETURN(parts.seconds_before, json_field<double>(state, "seconds"));
  for (size_t i = 0; i < parts.jobs.size(); ++i) {
    ASSIGN_OR_RETURN(const JobState job, restore_job(parts.jobs[i], state["jobs"][i]));
    const int64_t steps = parts.trainer->state(i).steps;
    if (job.steps != steps) {
      return failed_precondition(job.name + ": the checkpoint has " + std::to_string(job.steps) + " steps, this run " + std::to_string(steps));
    }
    if (!parts.jobs[i].closed) {
      RETURN_IF_ERROR(load_tensors(Checkpoints::job_file(found.folder, i), checkpoint_tensors(parts.trainer->adapter(i).parameters())));
    }
    parts.trainer->resume(i, job);
  }
  for (size_t i = 0; i < parts.sweep_looks.size() && i < state["sweep_looks"].size(); ++i) {
    if (state["sweep_looks"][i].is_number_unsigned()) parts.sweep_looks[i] = state["sweep_looks"][i];
  }
  if (state.contains("notes") && state["notes"].is_array()) {
    for (const Json& note : state["notes"]) parts.notes.push_back(note.is_string() ? note.get<std::string>() : "");
  }
  parts.resumed = true;
  parts.round = found.round;
  parts.log_marks = state["log"];
  return ok_status();
}

Status find_checkpoint(RunParts& parts) {
  const Checkpoints checkpoints(checkpoint_folder(parts.spec.out));
  auto found = checkpoints.latest();
  if (parts.services.resume) {
    if (!found.ok()) return found.status();
    if (!found->has_value()) return ok_status();
    const Checkpoints::Found& checkpoint = **found;
    RETURN_IF_ERROR(take_up(checkpoint, parts).with_context(checkpoint.folder.string()));
    for (const std::string& damaged : checkpoint.damaged) parts.notes.push_back("a later checkpoint could not be read: " + damaged);
    return ok_status();
  }
  const bool unfinished = found.ok() && found->has_value() && (**found).state.contains("finished") && (**found).state["finished"] != Json(true);
  if (!unfinished) return ok_status();
  return failed_precondition("\"" + parts.spec.out.string() + "\" holds the checkpoints of a run that has not ended; go on with it by --resume, or "
                             "remove \"" + checkpoint_folder(parts.spec.out).string() + "\" to begin anew");
}

// Every folder that an adapter may go to. A winner's outcome of an earlier process is there.
Status make_folders(RunParts& parts) {
  std::map<std::string, const SweepSpec*> sweeps;
  for (const SweepSpec& sweep : parts.spec.sweeps) {
    sweeps[sweep.name] = &sweep;
    RETURN_IF_ERROR(make_adapter_folder(sweep.out, sweep.name));
  }
  for (RunJob& job : parts.jobs) {
    const SweepSpec* sweep = job.plan.sweep.empty() ? nullptr : sweeps.at(job.plan.sweep);
    if (sweep != nullptr && job.outcome.sweep_winner) job.outcome.out = sweep->out;
    if (sweep == nullptr || sweep->keep == SweepKeep::kAll) RETURN_IF_ERROR(make_adapter_folder(job.plan.out, job.plan.job.name));
  }
  return ok_status();
}

}  // namespace

Json run_identity(const RunServices& services) {
  const bool int8 = services.model->quantisation() == kernels::Quantisation::kInt8;
  return {{"isa", kernels::isa_name(services.choice.isa)},
          {"arithmetic", kernels::arithmetic_name(int8 ? services.choice.int8 : services.choice.arithmetic)},
          {"umbel version", services.version},
          {"base", services.base_name},
          {"base weights", services.base_fingerprint},
          {"base parameters", services.model->parameters()},
          {"dtype", services.model->weight_type()}};
}

Path checkpoint_folder(const Path& run_folder) { return run_folder / "checkpoints"; }

Result<std::optional<RecordedChoice>> recorded_choice(const Path& run_folder) {
  ASSIGN_OR_RETURN(const auto found, Checkpoints(checkpoint_folder(run_folder)).latest());
  if (!found) return std::optional<RecordedChoice>();
  RecordedChoice choice;
  const Json run = found->state.contains("run") ? found->state["run"] : Json::object();
  ASSIGN_OR_RETURN(choice.isa, json_field<std::string>(run, "isa"));
  ASSIGN_OR_RETURN(choice.arithmetic, json_field<std::string>(run, "arithmetic"));
  return std::optional<RecordedChoice>(choice);
}

Result<std::unique_ptr<TrainRun>> TrainRun::create(RunSpec spec, RunServices services) {
  RETURN_IF_ERROR(check_spec(spec));
  RunParts parts;
  parts.spec = std::move(spec);
  parts.services = std::move(services);
  DataShelf shelf(parts.services);
  const TrainOptions options{.choice = parts.services.choice, .threads = parts.services.threads, .pass_rows_max = parts.spec.pass_rows,
                             .keep = parts.spec.recompute ? Keep::kLayerInputs : Keep::kAll};
  ASSIGN_OR_RETURN(parts.trainer, parts.services.make_trainer ? parts.services.make_trainer(parts.services.model, options)
                                                              : Trainer::create(parts.services.model, options));
  Problems problems;
  for (const JobPlan& plan : parts.spec.jobs) {
    RunJob& job = parts.jobs.emplace_back(plan);
    Status status = check_start_words(plan, parts.services).with_context(plan.job.name);
    if (status.ok()) status = load_rows(job, shelf).with_context(plan.job.name);
    if (status.ok()) status = parts.trainer->add_job(plan.job, *job.data, parts.services.base_name);
    if (status.ok() && !plan.start_from.empty()) status = start_from(plan.start_from, parts.trainer->adapter(parts.trainer->jobs() - 1)).with_context(plan.job.name);
    add_problem(problems, plan, status);
    if (problems.empty()) job.outcome.steps = parts.trainer->state(parts.jobs.size() - 1).steps;
  }
  RETURN_IF_ERROR(problems.status());
  parts.data = shelf.loaded();
  parts.warnings = template_warnings(parts.jobs);
  for (std::string& more : split_warnings(parts.jobs)) parts.warnings.push_back(std::move(more));
  parts.sweep_looks.assign(parts.spec.sweeps.size(), 0);
  RETURN_IF_ERROR(find_checkpoint(parts));
  if (!parts.services.plan_only) {
    RETURN_IF_ERROR(make_adapter_folder(parts.spec.out, "the folder of the run"));
    RETURN_IF_ERROR(make_folders(parts));
  }
  return std::unique_ptr<TrainRun>(std::make_unique<RunLoop>(std::move(parts)));
}

}  // namespace umbel::train
