// umbel train: adapters of any kinds over one frozen base, from a YAML file, or one of them from flags alone.
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/interrupt.h"
#include "apps/verb.h"
#include "base/printable.h"
#include "base/process_memory.h"
#include "data/dataset_statistics.h"
#include "train/config/config.h"
#include "train/config/config_key.h"
#include "train/config/config_override.h"
#include "train/config/preflight.h"
#include "train/report/progress_view.h"
#include "train/report/run_pace.h"
#include "train/run/run.h"

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
  std::vector<train::ConfigOverride> overrides;  // in the order of the flags
  std::vector<std::string> sets;
  bool resume = false, plan = false, json = false;
};

std::string flag_of(const char* key) {
  std::string flag = std::string("--") + key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

// A flag for a key of the configuration. A switch may stand alone.
void declare_key(CLI::App& verb, const train::ConfigKey& field, std::vector<train::ConfigOverride>& overrides, std::vector<std::string>& errors) {
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
  const bool is_switch = train::config_key_type(field) == "true or false";
  const std::string shown = train::config_key_default(field);
  const std::string help = train::config_key_type(field).starts_with("one of") ? std::string(field.help) + ": " + train::config_key_type(field).substr(7) : field.help;
  verb.add_option(names, CLI::callback_t(take), help, false)
      ->type_name(is_switch ? "[=false]" : "")
      ->default_str(shown)
      ->expected(is_switch ? 0 : 1)  // a switch takes no word behind it, only "=false"
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->group(field.section == train::ConfigSection::kRun ? "Options" : "Keys of the job (with a file: of all jobs)");
}

void print_warnings(const std::string& file, const data::Dataset& data, const BaseModel& base) {
  const data::DatasetStatistics statistics = data::describe(data, *base.tokenizer, base.generation.eos_ids);
  for (const std::string& warning : data::warnings_of(statistics, data, *base.tokenizer)) {
    std::fprintf(stderr, "%s: warning: %s\n", file.c_str(), printable(warning).c_str());
  }
}

void print_skipped(const std::string& file, const data::Dataset& data) {
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < std::min(kShown, data.skipped.size()); ++i) {
    std::fprintf(stderr, "%s:%lld: skipped: %s\n", file.c_str(), static_cast<long long>(data.skipped[i].line),
                 printable(data.skipped[i].reason).c_str());
  }
  if (!data.skipped.empty()) std::fprintf(stderr, "%s: %zu rows skipped, %zu used\n", file.c_str(), data.skipped.size(), data.examples.size());
}

// ---- What is printed.

// What a result has to beat, and does not; empty when it does.
std::vector<std::string> worse_than(const train::JobOutcome& outcome) {
  std::vector<std::string> names;
  if (!outcome.eval || !outcome.base_eval) return names;
  const train::EvalReport& mine = *outcome.eval;
  if (!(mine.loss < outcome.base_eval->loss)) names.push_back("the base, by held-out loss");
  if (outcome.start_eval && !(mine.loss < outcome.start_eval->loss)) names.push_back("the adapter that it goes on from, by held-out loss");
  if (mine.exact_rows < outcome.base_eval->exact_rows) names.push_back("the base, by exact match");
  // Free texts have hardly an answer that comes twice.
  constexpr double kShareOfLabels = 0.02;
  const bool labels = mine.same_reference > kShareOfLabels && mine.same_reference * static_cast<double>(mine.rows) > 1.5;
  if (labels && mine.exact_rows <= mine.same_reference && mine.same_reference < 1) names.push_back("always giving the most frequent answer");
  return names;
}

std::string joined(const std::vector<std::string>& names, const char* between) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : between) + name;
  return all;
}

Json report_json(const train::EvalReport& report) {
  return {{"loss", report.loss}, {"exact_match", report.exact_rows}, {"token_accuracy", report.token_accuracy}};
}

Json outcome_json(const train::JobOutcome& outcome) {
  Json json{{"name", outcome.name}, {"end", job_end_name(outcome.end)}, {"out", outcome.out.string()}, {"written", outcome.written},
            {"step", outcome.step}, {"steps", outcome.steps}, {"final_loss", outcome.last_loss}};
  if (!outcome.status.ok()) json["error"] = outcome.status.message();
  if (!outcome.note.empty()) json["note"] = outcome.note;
  if (outcome.written) json["written_step"] = outcome.written_step;
  if (outcome.base_eval) json.update({{"base_eval_loss", outcome.base_eval->loss}, {"base_eval", report_json(*outcome.base_eval)}});
  if (outcome.start_eval) json.update({{"start_eval_loss", outcome.start_eval->loss}, {"start_eval", report_json(*outcome.start_eval)}});
  if (outcome.eval) {
    json.update({{"eval_loss", outcome.eval->loss}, {"exact_match", outcome.eval->exact_rows}, {"token_accuracy", outcome.eval->token_accuracy},
                 {"majority", outcome.eval->same_reference}});
  }
  if (const auto worse = worse_than(outcome); !worse.empty()) json["worse_than"] = joined(worse, "; ");
  if (!outcome.sweep.empty()) {
    json["sweep"] = outcome.sweep;
    json["sweep_winner"] = outcome.sweep_winner;
  }
  return json;
}

void print_outcome(const train::JobOutcome& outcome) {
  std::cout << outcome.name << ": " << job_end_name(outcome.end) << " after " << outcome.step << " of " << outcome.steps << " steps";
  if (outcome.base_eval && outcome.eval) {
    const auto figures = [](double base, const std::optional<double>& start, double now) {
      std::cout << base << " before, ";
      if (start) std::cout << *start << " at its start, ";
      std::cout << now << " after";
    };
    const auto of_start = [&](double train::EvalReport::* field) {
      return outcome.start_eval ? std::optional((*outcome.start_eval).*field) : std::nullopt;
    };
    std::cout << ", held-out loss ";
    figures(outcome.base_eval->loss, of_start(&train::EvalReport::loss), outcome.eval->loss);
    std::cout << ", exact match ";
    figures(outcome.base_eval->exact_rows, of_start(&train::EvalReport::exact_rows), outcome.eval->exact_rows);
    std::cout << ", token accuracy ";
    figures(outcome.base_eval->token_accuracy, of_start(&train::EvalReport::token_accuracy), outcome.eval->token_accuracy);
  } else {
    std::cout << ", last loss " << outcome.last_loss;
  }
  if (!outcome.note.empty()) std::cout << " (" << printable(outcome.note) << ")";
  if (outcome.written) std::cout << ": " << outcome.out.string();
  if (!outcome.status.ok()) std::cout << ": " << printable(outcome.status.message());
  std::cout << (outcome.sweep_winner ? " (best of " + outcome.sweep + ")" : "");
  if (const auto worse = worse_than(outcome); !worse.empty() && outcome.end != train::JobEnd::kLostSweep) std::cout << "; NOT BETTER than " << joined(worse, " and ");
  std::cout << "\n";
}

// Of the last line: the written results that beat nothing.
std::string warning_of(const std::vector<train::JobOutcome>& outcomes) {
  constexpr size_t kShown = 5;
  std::vector<std::string> jobs;
  size_t count = 0;
  for (const train::JobOutcome& outcome : outcomes) {
    const auto worse = worse_than(outcome);
    if (worse.empty() || outcome.end == train::JobEnd::kLostSweep) continue;
    if (count++ < kShown) jobs.push_back(outcome.name + " is no better than " + joined(worse, " and "));
  }
  if (count > kShown) jobs.push_back(std::to_string(count - kShown) + " more are no better");
  return jobs.empty() ? "" : "; WARNING: " + joined(jobs, "; ");
}

int columns_of_terminal() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

// The learning rate and its course, whoever set them.
std::string rate_line(const train::JobSpec& job) {
  char text[160];
  std::snprintf(text, sizeof text, "%s, peak learning rate %g, %s to %g of it, warm-up %g of the steps", train::optimizer_name(job.optimizer).c_str(),
                job.learning_rate, train::schedule_name(job.schedule).c_str(), job.schedule == train::ScheduleKind::kConstant ? 1.0 : job.schedule_floor,
                job.warmup_share);
  return text;
}

// Rows that could not be used, and what each job trains.
void print_start(const train::RunSpec& spec, const BaseModel& base, train::TrainRun& run) {
  for (const train::LoadedData& data : run.data()) {
    print_skipped(data.file, *data.rows);
    print_warnings(data.file, *data.rows, base);
  }
  for (const std::string& warning : run.warnings()) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < spec.jobs.size(); ++i) {
    if (i == kShown) {
      std::fprintf(stderr, "and %zu more jobs\n", spec.jobs.size() - kShown);
      break;
    }
    train::TrainableAdapter& adapter = run.trainer().adapter(i);
    std::fprintf(stderr, "%s: %s, %lld modules, %lld trained values, %lld steps, %s\n", spec.jobs[i].job.name.c_str(),
                 train::train_kind_name(spec.jobs[i].job.kind).c_str(), static_cast<long long>(adapter.modules()),
                 static_cast<long long>(adapter.trained_values()), static_cast<long long>(run.trainer().state(i).steps),
                 rate_line(spec.jobs[i].job).c_str());
  }
  for (const train::SweepSpec& sweep : spec.sweeps) {
    std::string shares;
    for (const double share : sweep.halve_at) shares += (shares.empty() ? "" : ", ") + Json(share).dump();
    if (!shares.empty()) std::fprintf(stderr, "sweep %s: the worse half of its arms stops at these shares of the steps: %s\n", sweep.name.c_str(), shares.c_str());
  }
}

// The trainer's plan, and what the process holds besides before the first step: program, tokenizer, rows.
struct WholePlan {
  train::MemoryPlan plan;
  size_t besides = 0;

  explicit WholePlan(const train::MemoryPlan& planned) : plan(planned) {
    const size_t now = resident_bytes(), known = plan.weights + plan.adapters;
    besides = now > known ? now - known : 0;
  }
  // Opening the base may have taken more than training will.
  size_t total() const { return std::max(plan.weights + plan.beyond_weights() + besides, peak_resident_bytes()); }
};

Json plan_json(const WholePlan& whole) {
  const train::MemoryPlan& plan = whole.plan;
  return {{"weights_bytes", plan.weights}, {"adapters_bytes", plan.adapters}, {"activations_bytes", plan.activations},
          {"scratch_bytes", plan.scratch}, {"kv_bytes", plan.kv}, {"besides_bytes", whole.besides}, {"total_bytes", whole.total()}};
}

void print_plan(const WholePlan& whole) {
  const train::MemoryPlan& plan = whole.plan;
  const std::pair<const char*, size_t> lines[] = {{"weights (frozen)", plan.weights}, {"adapters, gradients, moments", plan.adapters},
                                                  {"activations", plan.activations}, {"scratch", plan.scratch}, {"keys and values", plan.kv},
                                                  {"program, tokenizer, rows", whole.besides}, {"in all, at the peak", whole.total()}};
  for (const auto& [what, bytes] : lines) std::printf("%-30s %10.1f MB\n", what, static_cast<double>(bytes) / 1e6);
}

// --plan: memory before anything is computed, then the time from a probe.
Status show_plan(const train::RunSpec& spec, train::TrainRun& run, bool json) {
  const WholePlan plan(run.trainer().plan());
  if (!json) {
    print_plan(plan);
    constexpr size_t kShown = 10;
    for (size_t i = 0; i < std::min(kShown, spec.jobs.size()); ++i) {
      const train::JobSpec& job = spec.jobs[i].job;
      std::printf("%-30s %s\n", (job.name + " (" + train::train_kind_name(job.kind) + ")").c_str(), rate_line(job).c_str());
    }
    std::fflush(stdout);
  }
  ASSIGN_OR_RETURN(const train::TimeEstimate time, run.probe());
  if (json) {
    Json out = plan_json(plan);
    out.update({{"expected_seconds", time.expected_seconds}, {"probe_steps", time.steps_probed}, {"probe_seconds", time.probed_seconds},
                {"peak_bytes_so_far", peak_resident_bytes()}, {"jobs", Json::array()}});
    for (const train::JobPlan& plan : spec.jobs) {
      const train::JobSpec& job = plan.job;
      out["jobs"].push_back({{"name", job.name}, {"kind", train::train_kind_name(job.kind)}, {"learning_rate", job.learning_rate},
                             {"schedule", train::schedule_name(job.schedule)}, {"schedule_floor", job.schedule_floor}, {"warmup_share", job.warmup_share}});
    }
    std::cout << out.dump() << "\n";
  } else {
    std::printf("expected time %s, from %lld steps that took %s\n", train::format_seconds(time.expected_seconds).c_str(),
                static_cast<long long>(time.steps_probed), train::format_seconds(time.probed_seconds).c_str());
  }
  return ok_status();
}

// ---- The run.

// Forwards to the view, and asks whether a signal came.
class Observer final : public train::RunObserver {
 public:
  Observer(train::ProgressView& view, const Interrupt& interrupt) : view_(view), interrupt_(interrupt) {}
  void on_step(const train::StepReport& report, const train::RunPace& pace) override { view_.on_step(report, pace); }
  void on_eval(const train::EvalEvent& event) override { view_.on_eval(event); }
  void on_end(const train::JobOutcome& outcome) override { view_.on_end(outcome); }
  void on_note(const std::string& note) override { view_.on_note(note); }
  bool stop_requested() override { return interrupt_.requested(); }

 private:
  train::ProgressView& view_;
  const Interrupt& interrupt_;
};

Status report_end(const Flags& flags, const train::RunSpec& spec, const WholePlan& plan, train::TrainRun& run, const std::vector<train::JobOutcome>& outcomes) {
  Json summary{{"out", spec.out.string()}, {"seconds", run.seconds()}, {"expected_seconds", run.expected().expected_seconds},
               {"memory", plan_json(plan)}, {"peak_bytes", peak_resident_bytes()}, {"jobs", Json::array()}};
  size_t failed = 0;
  for (const train::JobOutcome& outcome : outcomes) {
    failed += outcome.status.ok() ? 0 : 1;
    summary["jobs"].push_back(outcome_json(outcome));
    if (!flags.json) print_outcome(outcome);
  }
  if (flags.json) {
    std::cout << summary.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    std::cout << outcomes.size() << (outcomes.size() == 1 ? " job in " : " jobs in ") << train::format_seconds(run.seconds());
    if (run.expected().expected_seconds > 0) std::cout << " (" << train::format_seconds(run.expected().expected_seconds) << " were expected)";
    std::cout << ", peak memory " << peak_resident_bytes() / 1000000 << " MB; log and report: " << spec.out.string() << warning_of(outcomes) << "\n";
  }
  if (failed == 0) return ok_status();
  return failed_precondition(std::to_string(failed) + " of " + std::to_string(outcomes.size()) + " jobs failed");
}

Status carry_out(const Flags& flags, const train::RunSpec& spec, train::TrainRun& run, Interrupt& interrupt) {
  std::vector<std::string> names;
  for (const train::JobPlan& plan : spec.jobs) names.push_back(plan.job.name);
  const WholePlan whole(run.trainer().plan());
  const RealClock clock;
  train::ProgressView view(names, {.in_place = isatty(STDERR_FILENO) == 1, .columns = columns_of_terminal()},
                    [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }, clock);
  Observer observer(view, interrupt);
  interrupt.arm();
  const auto outcomes = run.run(observer);
  view.flush();
  if (!outcomes.ok()) return outcomes.status();
  return report_end(flags, spec, whole, run, *outcomes);
}

// ---- From flags to the run.

Result<train::RunSpec> read_spec(const Flags& flags) {
  std::vector<train::ConfigOverride> overrides = flags.overrides;
  for (const std::string& text : flags.sets) {
    ASSIGN_OR_RETURN(train::ConfigOverride change, train::parse_override(text));
    overrides.push_back(std::move(change));
  }
  if (!flags.config.empty()) return train::read_run_spec(flags.config, std::move(overrides));
  return train::read_run_spec({.root = std::make_shared<Yaml>(Yaml{.from_flag = true}), .overrides = std::move(overrides)});
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
  ASSIGN_OR_RETURN(const auto recorded, train::recorded_choice(out));
  if (!recorded) return ok_status();
  if (flags.isa == "auto") flags.isa = recorded->isa;
  if (flags.arithmetic == "auto") flags.arithmetic = recorded->arithmetic;
  return ok_status();
}

// Full jobs start from the base's folder and leave one like it, elsewhere.
Status place_full_jobs(const BaseModel& base, train::RunSpec& spec) {
  for (train::JobPlan& plan : spec.jobs) {
    if (plan.job.kind != train::TrainKind::kFull) continue;
    plan.job.full.base_dir = base.dir.string();
    std::error_code error;
    if (std::filesystem::equivalent(plan.out, base.dir, error)) {
      return failed_precondition(plan.job.name + ": out is the folder of the base; a trained model needs one of its own");
    }
  }
  return ok_status();
}

Status run_train(Flags flags) {
  ASSIGN_OR_RETURN(train::RunSpec spec, read_spec(flags));
  for (train::JobPlan& plan : spec.jobs) plan.dataset.cache_dir = kernels::default_cache_dir();
  Problems problems;
  train::check_files(spec, problems);
  if (!spec.base.empty()) flags.model.model = spec.base;
  if (!spec.dtype.empty()) flags.model.dtype = spec.dtype;
  if (spec.threads > 0) flags.model.threads = static_cast<int>(spec.threads);
  problems.add(find_model(flags.model.model).status());
  if (flags.resume) problems.add(recall_choice(spec.out, flags.model));
  RETURN_IF_ERROR(problems.status());
  flags.model.random_weights = std::all_of(spec.jobs.begin(), spec.jobs.end(), [](const train::JobPlan& plan) {
    return plan.job.kind == train::TrainKind::kFull && plan.job.full.init == train::FullInit::kRandom;
  });
  Interrupt interrupt("stopping after this step; once more to leave at once, without a checkpoint");
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  RETURN_IF_ERROR(place_full_jobs(base, spec));
  std::string fingerprint;
  if (!flags.model.random_weights) {
    ASSIGN_OR_RETURN(fingerprint, base_fingerprint(base));
  }
  train::RunServices services{.model = base.model, .tokenizer = base.tokenizer, .chat_template = base.chat_template, .base_name = base.name, .base_fingerprint = fingerprint,
                       .eos = base.generation.eos_ids.empty() ? -1 : base.generation.eos_ids.front(), .ends = base.generation.eos_ids, .choice = base.choice,
                       .threads = base.threads, .plan_only = flags.plan, .resume = flags.resume, .version = UMBEL_VERSION, .command = command_line()};
  ASSIGN_OR_RETURN(const auto run, train::TrainRun::create(spec, std::move(services)));
  print_start(spec, base, *run);
  return flags.plan ? show_plan(spec, *run, flags.json) : carry_out(flags, spec, *run, interrupt);
}

int main_train(const Flags& flags) {
  if (!flags.config_help.empty()) {
    std::cout << (flags.config_help == "markdown" ? train::config_help_markdown() : train::config_help_text());
    return kExitOk;
  }
  const Status status = run_train(flags);
  if (status.code() != Code::kCancelled) return finish(status);
  const std::string command = command_line();
  std::fprintf(stderr, "umbel: %s: %s%s\n", printable(status.message()).c_str(), command.c_str(), flags.resume ? "" : " --resume");
  return kExitInterrupted;
}

}  // namespace

void add_train(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  auto errors = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = program.add_subcommand("train", "train adapters over one base, from a YAML file or from flags");
  verb->add_option("CONFIG", flags->config, "YAML file of the run; without it the flags below describe one job");
  flags->model.declare(*verb, "--base");
  for (const train::ConfigKey& field : train::config_key_table()) {
    const bool of_job = field.section == train::ConfigSection::kJob && std::string_view(field.name) != "out";
    const bool of_run = field.section == train::ConfigSection::kRun && verb->get_option_no_throw(flag_of(field.name)) == nullptr;
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
