// umbel train: one adapter (or several kinds and ranks at once) trained on rows of a JSONL file, written as a PEFT folder.
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iostream>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/verb.h"
#include "base/clock.h"
#include "train/trainer.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel train --base seedling --data rows.jsonl --out adapters/mine
  umbel train --base seedling --data rows.jsonl --out adapters/mine --kind flora --rank 4 --lr 8e-3 --eval-data valid.jsonl
Rows: {"prompt", "completion"}, {"messages"}, {"instruction", "input", "output"} or {"conversations"}. The loss counts the
completion (or the assistant's turns) and the end token. The folder is complete when adapter_config.json is in it: a running
"umbel serve --adapters" picks it up by itself. --eval-data gives the loss on rows that are not trained on.)";

struct Flags {
  ModelFlags model;
  std::string data, eval_data, out, kind = "lora", schedule = "cosine";
  JobSpec job;
  int64_t length_max = 512;
  int64_t pass_rows = 1024;
  bool json = false;
};

void print_skipped(const std::string& file, const Dataset& data) {
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < std::min(kShown, data.skipped.size()); ++i) {
    std::fprintf(stderr, "%s:%lld: skipped: %s\n", file.c_str(), static_cast<long long>(data.skipped[i].line), data.skipped[i].reason.c_str());
  }
  if (!data.skipped.empty()) std::fprintf(stderr, "%s: %zu rows skipped, %zu used\n", file.c_str(), data.skipped.size(), data.examples.size());
  if (data.cut_rows > 0) std::fprintf(stderr, "%s: %lld rows cut at --max-length\n", file.c_str(), static_cast<long long>(data.cut_rows));
}

// A line per step on a terminal (in place) or every tenth of the run; all of them in OUT/train_log.jsonl.
class TrainLog {
 public:
  explicit TrainLog(const Path& file) : file_(file), terminal_(isatty(STDERR_FILENO) == 1), begin_(clock_.now()) {}

  void step(const StepReport& report) {
    tokens_ += report.tokens;
    const double elapsed = to_seconds(clock_.now() - begin_);
    const double speed = static_cast<double>(tokens_) / std::max(elapsed, 1e-9);
    const double eta = elapsed / static_cast<double>(report.step) * static_cast<double>(report.steps - report.step);
    file_ << Json{{"job", report.job}, {"step", report.step}, {"loss", report.loss}, {"learning_rate", report.learning_rate},
                  {"gradient_norm", report.gradient_norm}, {"tokens", report.tokens}, {"seconds", elapsed}}.dump() << std::endl;
    const bool last = report.step == report.steps;
    if (!terminal_ && !last && report.step % std::max<int64_t>(1, report.steps / 10) != 0) return;
    std::fprintf(stderr, "%s%s  step %lld/%lld  epoch %.2f  loss %.4f  lr %.2e  grad %.3f  %.0f tokens/s  ETA %.0f s   %s", terminal_ ? "\r" : "",
                 report.job.c_str(), static_cast<long long>(report.step), static_cast<long long>(report.steps), report.epoch, report.loss,
                 report.learning_rate, report.gradient_norm, speed, eta, terminal_ && !last ? "" : "\n");
  }
  double seconds() const { return to_seconds(clock_.now() - begin_); }

 private:
  std::ofstream file_;
  bool terminal_;
  RealClock clock_;
  TimePoint begin_;
  int64_t tokens_ = 0;
};

std::string card(const Flags& flags, const BaseModel& base, const Dataset& data, const JobState& result) {
  return "# " + flags.job.name + "\n\nTrained by umbel on " + std::to_string(data.examples.size()) + " rows: " + flags.kind + ", rank " +
         std::to_string(flags.job.rank) + ", base " + base.name + ", " + std::to_string(result.step) + " steps of " +
         std::to_string(flags.job.batch) + " rows, peak learning rate " + std::to_string(flags.job.learning_rate) + ", seed " +
         std::to_string(flags.job.seed) + ". Last training loss " + std::to_string(result.last_loss) + " nats per token.\n";
}

Result<Dataset> read_rows(const std::string& file, const BaseModel& base, int64_t length_max) {
  const DatasetOptions options{.length_max = std::min(length_max, base.model->config().max_position_embeddings),
                               .eos = base.generation.eos_ids.empty() ? -1 : base.generation.eos_ids.front()};
  return load_dataset(file, *base.tokenizer, base.chat_template.get(), options);
}

Status make_out_folder(const std::string& out) {
  std::error_code error;
  if (std::filesystem::exists(out, error) && !std::filesystem::is_directory(out, error)) {
    return failed_precondition("--out: \"" + out + "\" exists and is not a folder");
  }
  std::filesystem::create_directories(out, error);
  if (error) return failed_precondition("--out: cannot make the folder \"" + out + "\": " + error.message());
  return ok_status();
}

Status run_train(Flags flags) {
  ASSIGN_OR_RETURN(flags.job.kind, parse_train_kind(flags.kind));
  ASSIGN_OR_RETURN(flags.job.schedule, parse_schedule(flags.schedule));
  flags.job.name = Path(flags.out).filename().string();
  if (flags.job.name.empty()) flags.job.name = Path(flags.out).parent_path().filename().string();
  RETURN_IF_ERROR(check_job(flags.job));
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  ASSIGN_OR_RETURN(const Dataset data, read_rows(flags.data, base, flags.length_max));
  print_skipped(flags.data, data);
  Dataset held_out;
  if (!flags.eval_data.empty()) {
    ASSIGN_OR_RETURN(held_out, read_rows(flags.eval_data, base, flags.length_max));
    print_skipped(flags.eval_data, held_out);
  }
  ASSIGN_OR_RETURN(const auto trainer, Trainer::create(base.model, {.choice = base.choice, .threads = base.threads, .pass_rows_max = flags.pass_rows}));
  RETURN_IF_ERROR(trainer->add_job(flags.job, data, base.name));
  RETURN_IF_ERROR(make_out_folder(flags.out));
  std::fprintf(stderr, "%s: %zu rows, %lld trained tokens; %lld modules, %lld trained values\n", flags.job.name.c_str(), data.examples.size(),
               static_cast<long long>(data.trained_tokens), static_cast<long long>(trainer->adapter(0).modules()),
               static_cast<long long>(trainer->adapter(0).trained_values()));
  const double before = held_out.examples.empty() ? NAN : trainer->evaluate(0, held_out).loss;
  TrainLog log(Path(flags.out) / "train_log.jsonl");
  run_all(*trainer, [&](const StepReport& report) { log.step(report); });
  const JobState& result = trainer->state(0);
  RETURN_IF_ERROR(result.status);
  const double seconds = log.seconds();
  Json summary{{"job", result.name}, {"steps", result.step}, {"final_loss", result.last_loss}, {"seconds", seconds},
               {"memory_bytes", trainer->plan().beyond_weights()}, {"out", flags.out}};
  if (!held_out.examples.empty()) {
    summary["eval_loss_before"] = before;
    summary["eval_loss"] = trainer->evaluate(0, held_out).loss;
  }
  RETURN_IF_ERROR(write_file_atomic(Path(flags.out) / "README.md", card(flags, base, data, result)));
  RETURN_IF_ERROR(trainer->adapter(0).write(flags.out));
  if (flags.json) {
    std::cout << summary.dump() << "\n";
  } else {
    std::cout << flags.out << ": " << result.step << " steps in " << seconds << " s, last loss " << result.last_loss << "\n";
    if (!held_out.examples.empty()) {
      std::cout << "held-out loss " << before << " before, " << summary["eval_loss"] << " after (nats per trained token)\n";
    }
  }
  return ok_status();
}

void declare_job(CLI::App& verb, Flags& flags) {
  JobSpec& job = flags.job;
  verb.add_option("--kind", flags.kind, "lora, rslora, ia3, flora, flora-residual")->capture_default_str();
  verb.add_option("--rank", job.rank, "rank")->capture_default_str();
  verb.add_option("--alpha", job.alpha, "LoRA's alpha")->capture_default_str();
  verb.add_option("--targets", job.targets, "last parts of module paths, comma-separated (default: the kind's usual ones)")->delimiter(',');
  verb.add_option("--lr", job.learning_rate, "peak learning rate")->capture_default_str();
  verb.add_option("--schedule", flags.schedule, "cosine, linear, constant, cosine_with_restarts")->capture_default_str();
  verb.add_option("--floor", job.schedule_floor, "share of the peak that the schedule ends at")->capture_default_str();
  verb.add_option("--warmup", job.warmup_share, "share of the steps with a rising rate")->capture_default_str();
  verb.add_option("--clip", job.clip, "largest gradient norm (0 = off)")->capture_default_str();
  verb.add_option("--weight-decay", job.weight_decay, "AdamW's")->capture_default_str();
  verb.add_option("--epochs", job.epochs, "times through the data")->capture_default_str();
  verb.add_option("--batch", job.batch, "rows of one optimizer step")->capture_default_str();
  verb.add_option("--seed", job.seed, "of initial values and row order")->capture_default_str();
}

}  // namespace

void add_train(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("train", "train an adapter on rows of a JSONL file");
  flags->model.declare(*verb, "--base");
  verb->add_option("--data", flags->data, "JSONL file of rows")->required();
  verb->add_option("--eval-data", flags->eval_data, "JSONL file of rows that are not trained on");
  verb->add_option("--out", flags->out, "folder of the adapter; its name is the adapter's")->required();
  declare_job(*verb, *flags);
  verb->add_option("--max-length", flags->length_max, "longest row in tokens")->check(CLI::Range(2, 1 << 20))->capture_default_str();
  verb->add_option("--pass-rows", flags->pass_rows, "rows computed at once: more memory, a little faster")->check(CLI::Range(16, 1 << 20))->capture_default_str();
  verb->add_flag("--json", flags->json, "the summary as JSON");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_train(*flags)); }; });
}

}  // namespace umbel::apps
