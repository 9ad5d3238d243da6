// umbel train: adapters of any kinds over one frozen base, from a YAML file, or one of them from flags alone.
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/interrupt.h"
#include "apps/verb.h"
#include "base/process_memory.h"
#include "io/safetensors.h"
#include "train/config.h"
#include "train/config_key.h"
#include "train/config_override.h"
#include "train/preflight.h"
#include "train/progress_view.h"
#include "train/run.h"
#include "train/run_fields.h"
#include "train/run_pace.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel train --base seedling --data rows.jsonl --out adapters/mine
  umbel train --base seedling --data rows.jsonl --out adapters/mine --kind flora --rank 4 --lr 8e-2 --eval-data valid.jsonl
  umbel train run.yaml                                     many jobs over one base
  umbel train run.yaml --lr 1e-3 --set jobs.0.rank=16      the same with changes: of all jobs, of one
  umbel train --base seedling --data rows.jsonl --out sweep --lr "[1e-3, 3e-3]" --rank "[4, 8]" --eval-rows 200
  umbel train run.yaml --plan                              memory and expected time, before
  umbel train run.yaml --resume                            after Ctrl-C or a crash
  umbel train --config-help                                all keys of the file
A small file:
  base: seedling
  out: runs/first
  defaults: {epochs: 3, eval_rows: 100}
  jobs:
    - {name: intents, data: intents.jsonl}
    - {name: slots, data: slots.jsonl, kind: flora, rank: 4, learning_rate: 8e-2}
Rows: {"prompt", "completion"}, {"messages"}, {"instruction", "input", "output"}, {"conversations"}, {"text"} or CSV ("umbel data
preview" shows them). The loss counts the completion (or the assistant's turns) and the end token. An adapter's folder is complete when adapter_config.json is in it: a
running "umbel serve --adapters" picks it up by itself.)";

struct Flags {
  ModelFlags model;
  std::string config, config_help;
  std::vector<ConfigOverride> overrides;  // in the order of the flags
  std::vector<std::string> sets;
  bool resume = false, plan = false, json = false;
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
  const auto take = [&overrides, &errors, &field, flag, key](const CLI::results_t& texts) {
    const auto value = override_value(field, texts.empty() ? "true" : texts.back(), flag);
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
      ->type_name(is_switch ? "[=false]" : "")
      ->default_str(shown)
      ->expected(is_switch ? 0 : 1)  // a switch takes no word behind it, only "=false"
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

// ---- What is printed.

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

int columns_of_terminal() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

// Rows that could not be used, and what each job trains.
void print_start(const RunSpec& spec, TrainRun& run) {
  for (const LoadedData& data : run.data()) print_skipped(data.file, *data.rows);
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < spec.jobs.size(); ++i) {
    if (i == kShown) {
      std::fprintf(stderr, "and %zu more jobs\n", spec.jobs.size() - kShown);
      break;
    }
    TrainableAdapter& adapter = run.trainer().adapter(i);
    std::fprintf(stderr, "%s: %s, %lld modules, %lld trained values, %lld steps\n", spec.jobs[i].job.name.c_str(),
                 train_kind_name(spec.jobs[i].job.kind).c_str(), static_cast<long long>(adapter.modules()),
                 static_cast<long long>(adapter.trained_values()), static_cast<long long>(run.trainer().state(i).steps));
  }
  for (const SweepSpec& sweep : spec.sweeps) {
    std::string shares;
    for (const double share : sweep.halve_at) shares += (shares.empty() ? "" : ", ") + Json(share).dump();
    if (!shares.empty()) std::fprintf(stderr, "sweep %s: the worse half of its arms stops at these shares of the steps: %s\n", sweep.name.c_str(), shares.c_str());
  }
}

// The trainer's plan, and what the process holds besides before the first step: program, tokenizer, rows.
struct WholePlan {
  MemoryPlan plan;
  size_t besides = 0;

  explicit WholePlan(const MemoryPlan& planned) : plan(planned) {
    const size_t now = resident_bytes(), known = plan.weights + plan.adapters;
    besides = now > known ? now - known : 0;
  }
  // Opening the base may have taken more than training will.
  size_t total() const { return std::max(plan.weights + plan.beyond_weights() + besides, peak_resident_bytes()); }
};

Json plan_json(const WholePlan& whole) {
  const MemoryPlan& plan = whole.plan;
  return {{"weights_bytes", plan.weights}, {"adapters_bytes", plan.adapters}, {"activations_bytes", plan.activations},
          {"scratch_bytes", plan.scratch}, {"kv_bytes", plan.kv}, {"besides_bytes", whole.besides}, {"total_bytes", whole.total()}};
}

void print_plan(const WholePlan& whole) {
  const MemoryPlan& plan = whole.plan;
  const std::pair<const char*, size_t> lines[] = {{"weights (frozen)", plan.weights}, {"adapters, gradients, moments", plan.adapters},
                                                  {"activations", plan.activations}, {"scratch", plan.scratch}, {"keys and values", plan.kv},
                                                  {"program, tokenizer, rows", whole.besides}, {"in all, at the peak", whole.total()}};
  for (const auto& [what, bytes] : lines) std::printf("%-30s %10.1f MB\n", what, static_cast<double>(bytes) / 1e6);
}

// --plan: memory before anything is computed, then the time from a probe.
Status show_plan(TrainRun& run, bool json) {
  const WholePlan plan(run.trainer().plan());
  if (!json) {
    print_plan(plan);
    std::fflush(stdout);
  }
  ASSIGN_OR_RETURN(const TimeEstimate time, run.probe());
  if (json) {
    Json out = plan_json(plan);
    out.update({{"expected_seconds", time.expected_seconds}, {"probe_steps", time.steps_probed}, {"probe_seconds", time.probed_seconds},
                {"peak_bytes_so_far", peak_resident_bytes()}});
    std::cout << out.dump() << "\n";
  } else {
    std::printf("expected time %s, from %lld steps that took %s\n", format_seconds(time.expected_seconds).c_str(),
                static_cast<long long>(time.steps_probed), format_seconds(time.probed_seconds).c_str());
  }
  return ok_status();
}

// ---- The run.

// Forwards to the view, and asks whether a signal came.
class Observer final : public RunObserver {
 public:
  Observer(ProgressView& view, const Interrupt& interrupt) : view_(view), interrupt_(interrupt) {}
  void on_step(const StepReport& report, const RunPace& pace) override { view_.on_step(report, pace); }
  void on_eval(const EvalEvent& event) override { view_.on_eval(event); }
  void on_end(const JobOutcome& outcome) override { view_.on_end(outcome); }
  void on_note(const std::string& note) override { view_.on_note(note); }
  bool stop_requested() override { return interrupt_.requested(); }

 private:
  ProgressView& view_;
  const Interrupt& interrupt_;
};

Status report_end(const Flags& flags, const RunSpec& spec, const WholePlan& plan, TrainRun& run, const std::vector<JobOutcome>& outcomes) {
  Json summary{{"out", spec.out.string()}, {"seconds", run.seconds()}, {"expected_seconds", run.expected().expected_seconds},
               {"memory", plan_json(plan)}, {"peak_bytes", peak_resident_bytes()}, {"jobs", Json::array()}};
  size_t failed = 0;
  for (const JobOutcome& outcome : outcomes) {
    failed += outcome.status.ok() ? 0 : 1;
    summary["jobs"].push_back(outcome_json(outcome));
    if (!flags.json) print_outcome(outcome);
  }
  if (flags.json) {
    std::cout << summary.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    std::cout << outcomes.size() << (outcomes.size() == 1 ? " job in " : " jobs in ") << format_seconds(run.seconds());
    if (run.expected().expected_seconds > 0) std::cout << " (" << format_seconds(run.expected().expected_seconds) << " were expected)";
    std::cout << ", peak memory " << peak_resident_bytes() / 1000000 << " MB; log and report: " << spec.out.string() << "\n";
  }
  if (failed == 0) return ok_status();
  return failed_precondition(std::to_string(failed) + " of " + std::to_string(outcomes.size()) + " jobs failed");
}

Status carry_out(const Flags& flags, const RunSpec& spec, TrainRun& run, Interrupt& interrupt) {
  std::vector<std::string> names;
  for (const JobPlan& plan : spec.jobs) names.push_back(plan.job.name);
  const WholePlan whole(run.trainer().plan());
  const RealClock clock;
  ProgressView view(names, {.in_place = isatty(STDERR_FILENO) == 1, .columns = columns_of_terminal()},
                    [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }, clock);
  Observer observer(view, interrupt);
  interrupt.arm();
  const auto outcomes = run.run(observer);
  view.flush();
  if (!outcomes.ok()) return outcomes.status();
  return report_end(flags, spec, whole, run, *outcomes);
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

// As typed, one space between words; words with spaces or signs of the shell in quotes.
std::string command_line() {
  std::ifstream file("/proc/self/cmdline");
  std::string text, word;
  while (std::getline(file, word, '\0')) {
    const bool plain = !word.empty() && word.find_first_of(" \t\n\"'\\$&|;<>()[]{}*?#~`!") == std::string::npos;
    std::string quoted;
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += (text.empty() ? "" : " ") + (plain ? word : "'" + quoted + "'");
  }
  return text;
}

// A resumed run computes with what it computed with before, unless the flags say otherwise (then it is refused by name).
Status recall_choice(const Path& out, ModelFlags& flags) {
  ASSIGN_OR_RETURN(const auto recorded, recorded_choice(out));
  if (!recorded) return ok_status();
  if (flags.isa == "auto") flags.isa = recorded->isa;
  if (flags.arithmetic == "auto") flags.arithmetic = recorded->arithmetic;
  return ok_status();
}

// Full jobs start from the base's folder and leave one like it, elsewhere.
Status place_full_jobs(const BaseModel& base, RunSpec& spec) {
  for (JobPlan& plan : spec.jobs) {
    if (plan.job.kind != TrainKind::kFull) continue;
    plan.job.full.base_dir = base.dir.string();
    std::error_code error;
    if (std::filesystem::equivalent(plan.out, base.dir, error)) {
      return failed_precondition(plan.job.name + ": out is the folder of the base; a trained model needs one of its own");
    }
  }
  return ok_status();
}

// Of the files that the base was loaded from.
Result<std::string> fingerprint_of(const BaseModel& base, bool random_weights) {
  if (random_weights) return std::string();
  ASSIGN_OR_RETURN(const Safetensors weights, Safetensors::open_model(base.dir));
  return weights_fingerprint(weights);
}

Status run_train(Flags flags) {
  ASSIGN_OR_RETURN(RunSpec spec, read_spec(flags));
  for (JobPlan& plan : spec.jobs) plan.dataset.cache_dir = kernels::default_cache_dir();
  Problems problems;
  check_files(spec, problems);
  if (!spec.base.empty()) flags.model.model = spec.base;
  if (!spec.dtype.empty()) flags.model.dtype = spec.dtype;
  if (spec.threads > 0) flags.model.threads = static_cast<int>(spec.threads);
  problems.add(find_model(flags.model.model).status());
  if (flags.resume) problems.add(recall_choice(spec.out, flags.model));
  RETURN_IF_ERROR(problems.status());
  flags.model.random_weights = std::all_of(spec.jobs.begin(), spec.jobs.end(), [](const JobPlan& plan) {
    return plan.job.kind == TrainKind::kFull && plan.job.full.init == FullInit::kRandom;
  });
  Interrupt interrupt("stopping after this step; once more to leave at once, without a checkpoint");
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  RETURN_IF_ERROR(place_full_jobs(base, spec));
  ASSIGN_OR_RETURN(const std::string fingerprint, fingerprint_of(base, flags.model.random_weights));
  RunServices services{.model = base.model, .tokenizer = base.tokenizer, .chat_template = base.chat_template, .base_name = base.name, .base_fingerprint = fingerprint,
                       .eos = base.generation.eos_ids.empty() ? -1 : base.generation.eos_ids.front(), .choice = base.choice,
                       .threads = base.threads, .plan_only = flags.plan, .resume = flags.resume, .version = UMBEL_VERSION, .command = command_line()};
  ASSIGN_OR_RETURN(const auto run, TrainRun::create(spec, std::move(services)));
  print_start(spec, *run);
  return flags.plan ? show_plan(*run, flags.json) : carry_out(flags, spec, *run, interrupt);
}

int main_train(const Flags& flags) {
  if (!flags.config_help.empty()) {
    std::cout << (flags.config_help == "markdown" ? config_help_markdown() : config_help_text());
    return kExitOk;
  }
  const Status status = run_train(flags);
  if (status.code() != Code::kCancelled) return finish(status);
  const std::string command = command_line();
  std::fprintf(stderr, "umbel: %s: %s%s\n", status.message().c_str(), command.c_str(), flags.resume ? "" : " --resume");
  return kExitInterrupted;
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
  verb->add_flag("--resume", flags->resume, "go on from the last checkpoint of the run's folder");
  verb->add_flag("--plan", flags->plan, "print memory and, from ten steps, the expected time; train nothing");
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
