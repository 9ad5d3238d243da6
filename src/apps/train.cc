// umbel train: adapters of any kinds over one frozen base, from a YAML file, or one of them from flags alone.
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/interrupt.h"
#include "apps/verb.h"
#include "train/config.h"
#include "train/config_key.h"
#include "train/preflight.h"
#include "train/progress_view.h"
#include "train/trainer.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel train --base seedling --data rows.jsonl --out adapters/mine
  umbel train --base seedling --data rows.jsonl --out adapters/mine --kind flora --rank 4 --lr 8e-2 --eval-data valid.jsonl
  umbel train run.yaml                                     many jobs over one base
  umbel train run.yaml --lr 1e-3 --set jobs.0.rank=16      the same with changes: of all jobs, of one
  umbel train --base seedling --data rows.jsonl --out sweep --lr "[1e-3, 3e-3]" --rank "[4, 8]" --eval-rows 200
  umbel train --config-help                                all keys of the file
A small file:
  base: seedling
  out: runs/first
  defaults: {epochs: 3, eval_rows: 100}
  jobs:
    - {name: intents, data: intents.jsonl}
    - {name: slots, data: slots.jsonl, kind: flora, rank: 4, learning_rate: 8e-2}
Rows: {"prompt", "completion"}, {"messages"}, {"instruction", "input", "output"} or {"conversations"}. The loss counts the
completion (or the assistant's turns) and the end token. An adapter's folder is complete when adapter_config.json is in it: a
running "umbel serve --adapters" picks it up by itself.)";

struct Flags {
  ModelFlags model;
  std::string config, config_help;
  std::vector<ConfigOverride> overrides;  // in the order of the flags
  std::vector<std::string> sets;
  bool json = false;
};

std::string flag_of(const char* key) {
  std::string flag = std::string("--") + key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

// A flag for a key of the configuration. A switch may stand alone.
void declare_key(CLI::App& verb, const ConfigKey& field, std::vector<ConfigOverride>& overrides, std::vector<std::string>& errors) {
  std::string names = flag_of(field.name);
  if (field.alias[0] != 0) names += "," + flag_of(field.alias);
  const std::string flag = flag_of(field.name);
  const std::string key = field.name;
  const auto take = [&overrides, &errors, flag, key](const CLI::results_t& texts) {
    const auto value = yaml_of_flag(texts.empty() ? "true" : texts.back(), flag);
    if (value.ok()) {
      overrides.push_back({key, *value});
    } else {
      errors.push_back(value.status().message());
    }
    return true;
  };
  const bool is_switch = config_key_type(field) == "true or false";
  const std::string shown = config_key_default(field);
  const std::string help = config_key_type(field).starts_with("one of") ? std::string(field.help) + ": " + config_key_type(field).substr(7) : field.help;
  verb.add_option(names, CLI::callback_t(take), help, false)
      ->type_name(is_switch ? "[BOOL]" : "")
      ->default_str(shown)
      ->expected(is_switch ? 0 : 1, 1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->group(field.section == ConfigSection::kRun ? "Options" : "Keys of the job (with a file: of all jobs)");
}

void print_skipped(const std::string& file, const Dataset& data) {
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < std::min(kShown, data.skipped.size()); ++i) {
    std::fprintf(stderr, "%s:%lld: skipped: %s\n", file.c_str(), static_cast<long long>(data.skipped[i].line), data.skipped[i].reason.c_str());
  }
  if (!data.skipped.empty()) std::fprintf(stderr, "%s: %zu rows skipped, %zu used\n", file.c_str(), data.skipped.size(), data.examples.size());
  if (data.cut_rows > 0) std::fprintf(stderr, "%s: %lld rows cut at length_max\n", file.c_str(), static_cast<long long>(data.cut_rows));
}

// ---- The run.

// Data sets by file and length, read once for all jobs that use them.
class DataShelf {
 public:
  explicit DataShelf(const BaseModel& base) : base_(base) {}
  Result<std::shared_ptr<const Dataset>> open(const std::string& file, DatasetOptions options) {
    options.length_max = std::min(options.length_max, base_.model->config().max_position_embeddings);
    options.eos = base_.generation.eos_ids.empty() ? -1 : base_.generation.eos_ids.front();
    auto& found = sets_[{file, options.length_max}];
    if (found == nullptr) {
      ASSIGN_OR_RETURN(Dataset data, load_dataset(file, *base_.tokenizer, base_.chat_template.get(), options));
      print_skipped(file, data);
      found = std::make_shared<const Dataset>(std::move(data));
    }
    return found;
  }

 private:
  const BaseModel& base_;
  std::map<std::pair<std::string, int64_t>, std::shared_ptr<const Dataset>> sets_;
};

struct JobData {
  std::shared_ptr<const Dataset> rows, held_out;  // held_out: null = none
};

Result<JobData> open_data(DataShelf& shelf, const JobPlan& plan) {
  JobData data;
  ASSIGN_OR_RETURN(data.rows, shelf.open(plan.data, plan.dataset));
  if (!plan.eval_data.empty()) {
    ASSIGN_OR_RETURN(data.held_out, shelf.open(plan.eval_data, plan.dataset));
  }
  if (plan.eval_rows > 0) {
    const auto count = static_cast<int64_t>(data.rows->examples.size());
    if (plan.eval_rows >= count) {
      return invalid_argument(plan.job.name + ": eval_rows " + std::to_string(plan.eval_rows) + " leaves nothing of the " + std::to_string(count) + " rows");
    }
    Dataset front = *data.rows, back;
    back.examples.assign(front.examples.end() - plan.eval_rows, front.examples.end());
    front.examples.resize(count - plan.eval_rows);
    data.rows = std::make_shared<const Dataset>(std::move(front));
    data.held_out = std::make_shared<const Dataset>(std::move(back));
  }
  return data;
}

Json outcome_json(const JobOutcome& outcome) {
  Json json{{"name", outcome.name}, {"end", job_end_name(outcome.end)}, {"out", outcome.out.string()}, {"written", outcome.written},
            {"step", outcome.step}, {"steps", outcome.steps}, {"final_loss", outcome.last_loss}};
  if (!outcome.status.ok()) json["error"] = outcome.status.message();
  if (!outcome.note.empty()) json["note"] = outcome.note;
  if (outcome.written) json["written_step"] = outcome.written_step;
  if (outcome.base_eval_loss) json["base_eval_loss"] = *outcome.base_eval_loss;
  if (outcome.eval_loss) json["eval_loss"] = *outcome.eval_loss;
  if (!outcome.sweep.empty()) {
    json["sweep"] = outcome.sweep;
    json["sweep_winner"] = outcome.sweep_winner;
  }
  return json;
}

void print_outcome(const JobOutcome& outcome) {
  std::cout << outcome.name << ": " << job_end_name(outcome.end) << " after " << outcome.step << " of " << outcome.steps << " steps";
  if (outcome.base_eval_loss && outcome.eval_loss) {
    std::cout << ", held-out loss " << *outcome.base_eval_loss << " before, " << *outcome.eval_loss << " after";
  } else {
    std::cout << ", last loss " << outcome.last_loss;
  }
  if (outcome.written) std::cout << ": " << outcome.out.string();
  if (!outcome.status.ok()) std::cout << ": " << outcome.status.message();
  std::cout << (outcome.sweep_winner ? " (best of " + outcome.sweep + ")" : "") << "\n";
}

std::string card(const JobPlan& plan, const BaseModel& base, const Dataset& data, const JobState& result) {
  const JobSpec& job = plan.job;
  return "# " + job.name + "\n\nTrained by umbel on " + std::to_string(data.examples.size()) + " rows: " + train_kind_name(job.kind) + ", rank " +
         std::to_string(job.rank) + ", base " + base.name + ", " + std::to_string(result.step) + " steps of " + std::to_string(job.batch) +
         " rows, peak learning rate " + std::to_string(job.learning_rate) + ", seed " + std::to_string(job.seed) + ". Last training loss " +
         std::to_string(result.last_loss) + " nats per token.\n";
}

int columns_of_terminal() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

// All jobs at once over the base.
class Session {
 public:
  Session(const RunSpec& spec, const BaseModel& base) : spec_(spec), base_(base), shelf_(base) {}

  // Data and adapters of all jobs; all problems at once.
  Status open() {
    ASSIGN_OR_RETURN(trainer_, Trainer::create(base_.model, {.choice = base_.choice, .threads = base_.threads, .pass_rows_max = spec_.pass_rows}));
    Problems problems;
    for (const JobPlan& plan : spec_.jobs) {
      auto data = open_data(shelf_, plan);
      problems.add(plan.where.empty() ? data.status() : data.status().with_context(plan.where));
      if (!data.ok()) continue;
      data_.push_back(*data);
      const Status added = trainer_->add_job(plan.job, *data->rows, base_.name);
      problems.add(plan.where.empty() ? added : added.with_context(plan.where));
    }
    return problems.status();
  }

  Status run(const Flags& flags, const Interrupt& interrupt);

 private:
  void look(RunObserver& view, bool at_start);
  JobOutcome finish_job(size_t index);

  const RunSpec& spec_;
  const BaseModel& base_;
  DataShelf shelf_;
  std::unique_ptr<Trainer> trainer_;
  std::vector<JobData> data_;
  std::vector<double> before_, after_;
};

void Session::look(RunObserver& view, bool at_start) {
  std::vector<double>& losses = at_start ? before_ : after_;
  losses.resize(data_.size());
  for (size_t i = 0; i < data_.size(); ++i) {
    if (data_[i].held_out == nullptr || !trainer_->state(i).status.ok()) continue;
    const EvalReport report = trainer_->evaluate(i, *data_[i].held_out);
    losses[i] = report.loss;
    view.on_eval({.job = spec_.jobs[i].job.name, .step = trainer_->state(i).step, .rows = static_cast<int64_t>(data_[i].held_out->examples.size()),
                  .report = report, .best = report.loss < before_[i], .base_loss = before_[i]});
  }
}

JobOutcome Session::finish_job(size_t index) {
  const JobPlan& plan = spec_.jobs[index];
  const JobState& state = trainer_->state(index);
  JobOutcome outcome{.name = plan.job.name, .status = state.status, .out = plan.out, .step = state.step, .steps = state.steps,
                     .written_step = state.step, .last_loss = state.last_loss, .sweep = plan.sweep};
  if (data_[index].held_out != nullptr && state.status.ok()) {
    outcome.base_eval_loss = before_[index];
    outcome.eval_loss = after_[index];
  }
  if (outcome.status.ok()) outcome.status = trainer_->adapter(index).write(plan.out);
  if (outcome.status.ok()) outcome.status = write_file_atomic(plan.out / "README.md", card(plan, base_, *data_[index].rows, state));
  outcome.written = outcome.status.ok();
  if (!outcome.written) outcome.end = JobEnd::kFailed;
  return outcome;
}

Status Session::run(const Flags& flags, const Interrupt& interrupt) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::create_directories(spec_.out, error);
  for (const JobPlan& plan : spec_.jobs) {
    names.push_back(plan.job.name);
    std::filesystem::create_directories(plan.out, error);
    if (error) return failed_precondition(plan.job.name + ": cannot make the folder \"" + plan.out.string() + "\": " + error.message());
  }
  const RealClock clock;
  ProgressView view(names, {.in_place = isatty(STDERR_FILENO) == 1, .columns = columns_of_terminal()},
                    [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }, clock);
  look(view, true);
  std::ofstream log(spec_.out / "train_log.jsonl");
  const TimePoint begin = clock.now();
  int64_t tokens = 0, rounds = 0;
  for (auto reports = trainer_->step(); !reports.empty(); reports = trainer_->step()) {
    const double seconds = to_seconds(clock.now() - begin);
    int64_t left = 0;
    for (const StepReport& report : reports) {
      tokens += report.tokens;
      left = std::max(left, report.steps - report.step);
    }
    ++rounds;
    for (const StepReport& report : reports) {
      log << Json{{"job", report.job}, {"step", report.step}, {"loss", report.loss}, {"learning_rate", report.learning_rate},
                  {"gradient_norm", report.gradient_norm}, {"tokens", report.tokens}, {"seconds", seconds}}.dump() << std::endl;
      view.on_step(report, {.seconds = seconds, .tokens_per_second = static_cast<double>(tokens) / std::max(seconds, 1e-9),
                            .left_seconds = seconds / static_cast<double>(rounds) * static_cast<double>(left)});
    }
    if (interrupt.requested()) return Status(Code::kCancelled, "interrupted; nothing was written");
  }
  look(view, false);
  Json summary{{"out", spec_.out.string()}, {"seconds", to_seconds(clock.now() - begin)}, {"memory_bytes", trainer_->plan().beyond_weights()}, {"jobs", Json::array()}};
  bool all_ok = true;
  view.flush();
  for (size_t i = 0; i < data_.size(); ++i) {
    const JobOutcome outcome = finish_job(i);
    all_ok &= outcome.status.ok();
    view.on_end(outcome);
    summary["jobs"].push_back(outcome_json(outcome));
    if (!flags.json) print_outcome(outcome);
  }
  view.flush();
  if (flags.json) std::cout << summary.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  return all_ok ? ok_status() : failed_precondition("not every job ended with an adapter");
}

// ---- From flags to the run.

Result<RunSpec> read_spec(const Flags& flags) {
  std::vector<ConfigOverride> overrides = flags.overrides;
  for (const std::string& text : flags.sets) {
    ASSIGN_OR_RETURN(ConfigOverride change, parse_override(text));
    overrides.push_back(std::move(change));
  }
  if (!flags.config.empty()) return read_run_spec(flags.config, std::move(overrides));
  return read_run_spec({.root = std::make_shared<Yaml>(Yaml{.from_flag = true}), .overrides = std::move(overrides)});
}

Status run_train(Flags flags) {
  ASSIGN_OR_RETURN(const RunSpec spec, read_spec(flags));
  Problems problems;
  check_files(spec, problems);
  if (!spec.base.empty()) flags.model.model = spec.base;
  if (!spec.dtype.empty()) flags.model.dtype = spec.dtype;
  if (spec.threads > 0) flags.model.threads = static_cast<int>(spec.threads);
  problems.add(find_model(flags.model.model).status());
  RETURN_IF_ERROR(problems.status());
  Interrupt interrupt;
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  Session session(spec, base);
  RETURN_IF_ERROR(session.open());
  interrupt.arm();
  return session.run(flags, interrupt);
}

int main_train(const Flags& flags) {
  if (!flags.config_help.empty()) {
    std::cout << (flags.config_help == "markdown" ? config_help_markdown() : config_help_text());
    return kExitOk;
  }
  const Status status = run_train(flags);
  const int code = finish(status);
  return status.code() == Code::kCancelled ? kExitInterrupted : code;
}

}  // namespace

void add_train(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  auto errors = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = program.add_subcommand("train", "train adapters over one base, from a YAML file or from flags");
  verb->add_option("CONFIG", flags->config, "YAML file of the run; without it the flags below describe one job");
  flags->model.declare(*verb, "--base");
  for (const ConfigKey& field : config_key_table()) {
    const bool of_job = field.section == ConfigSection::kJob && std::string_view(field.name) != "out";
    const bool of_run = field.section == ConfigSection::kRun && verb->get_option_no_throw(flag_of(field.name)) == nullptr;
    if (of_job || of_run) declare_key(*verb, field, flags->overrides, *errors);
  }
  verb->add_option("--set", flags->sets, "a key of the file, also of one job: lr=1e-3, jobs.0.rank=4, jobs.NAME.kind=ia3")->allow_extra_args(false);
  verb->add_option("--config-help", flags->config_help, "list all keys of the file and leave (also: markdown)")->expected(0, 1)->default_str("text");
  verb->add_flag("--json", flags->json, "the summary as JSON");
  verb->footer(kFooter);
  verb->callback([flags, errors, verb, &run] {
    if (verb->get_option("--config-help")->count() > 0 && flags->config_help.empty()) flags->config_help = "text";
    for (const char* key : {"base", "dtype", "threads"}) {
      const CLI::Option* option = verb->get_option(flag_of(key));
      if (option->count() > 0) flags->overrides.push_back({key, yaml_of_flag(option->as<std::string>(), flag_of(key)).value()});
    }
    run = [flags, errors] { return errors->empty() ? main_train(*flags) : finish(invalid_argument(errors->front())); };
  });
}

}  // namespace umbel::apps
