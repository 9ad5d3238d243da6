// umbel bench-train: training speed and memory on random weights and random rows of a known shape, for comparisons.
#include <algorithm>
#include <iostream>

#include "apps/exit.h"
#include "apps/verb.h"
#include "base/clock.h"
#include "base/process_memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "io/json.h"
#include "kernels/machine_limits.h"
#include "models/random_model.h"
#include "train/job/kind_facts.h"
#include "train/step/trainer.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel bench-train --shape 125m --rank 16 --rows 1 --length 512
  umbel bench-train --shape 10m --jobs 16 --rank 8 --rows 4 --length 128 --steps 20 --json
Every job trains on rows of its own; every token is trained. Tokens/s is the median over --steps optimizer steps after --warmup ones.
bench/train_vs_peft.py runs the same work through torch + PEFT, in turn with this.)";

struct Shape {
  const char* name;
  int64_t hidden, layers, heads, kv_heads, feedforward, vocab;
};
constexpr Shape kShapes[] = {
    {"10m", 256, 8, 8, 8, 704, 4096},
    {"125m", 768, 12, 12, 12, 2048, 32000},
    {"1.1b", 2048, 22, 32, 4, 5632, 32000},
};

struct Flags {
  std::string shape = "125m", kind = "lora", dtype = "f32", isa = "auto", arithmetic = "auto";
  train::JobSpec job;
  int64_t jobs = 1, rows = 1, length = 512, steps = 5, warmup = 1, pass_rows = 1024;
  int threads = 0;
  bool recompute = false, json = false;
};

Result<ModelConfig> config_of(const std::string& name) {
  const auto* shape = std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return s.name == name; });
  if (shape == std::end(kShapes)) return invalid_argument("--shape: \"" + name + "\" is not one of 10m, 125m, 1.1b");
  return parse_model_config(Json{{"model_type", "llama"}, {"architectures", {"LlamaForCausalLM"}}, {"vocab_size", shape->vocab},
                                 {"hidden_size", shape->hidden}, {"intermediate_size", shape->feedforward},
                                 {"num_hidden_layers", shape->layers}, {"num_attention_heads", shape->heads},
                                 {"num_key_value_heads", shape->kv_heads}, {"max_position_embeddings", 2048},
                                 {"rms_norm_eps", 1e-5}, {"rope_theta", 10000.0}, {"tie_word_embeddings", false},
                                 {"hidden_act", "silu"}});
}

// Random rows, all tokens trained; as many as warm-up and timed steps read.
data::Dataset random_rows(const Flags& flags, int64_t vocab, uint64_t seed) {
  data::Dataset data;
  Random random(mix_key({seed, 77}));
  for (int64_t i = 0; i < flags.rows * (flags.steps + flags.warmup); ++i) {
    data::Example& example = data.examples.emplace_back();
    for (int64_t t = 0; t <= flags.length; ++t) example.tokens.push_back(static_cast<TokenId>(10 + random.next_below(static_cast<uint64_t>(vocab - 10))));
    example.trained.assign(example.tokens.size(), 1);
    example.trained[0] = 0;
    data.trained_tokens += flags.length;
  }
  return data;
}

Result<Json> measure(const Flags& flags) {
  ASSIGN_OR_RETURN(const ModelConfig config, config_of(flags.shape));
  ASSIGN_OR_RETURN(const kernels::Choice choice, kernels::choose({.isa = flags.isa, .arithmetic = flags.arithmetic}));
  ASSIGN_OR_RETURN(const auto model, make_random_model(config, 1, {.dtype = flags.dtype, .choice = choice}));
  const int threads = flags.threads > 0 ? flags.threads : usable_cpus();
  ASSIGN_OR_RETURN(const auto trainer, train::Trainer::create(model, {.choice = choice, .threads = threads, .pass_rows_max = flags.pass_rows,
                                                               .keep = flags.recompute ? Keep::kLayerInputs : Keep::kAll}));
  std::vector<data::Dataset> data;
  data.reserve(static_cast<size_t>(flags.jobs));
  for (int64_t j = 0; j < flags.jobs; ++j) {
    train::JobSpec spec = flags.job;
    spec.name = "job" + std::to_string(j);
    spec.batch = flags.rows;
    spec.epochs = 1;
    spec.seed = static_cast<uint64_t>(j + 1);
    data.push_back(random_rows(flags, config.vocab_size, spec.seed));
    RETURN_IF_ERROR(trainer->add_job(spec, data.back(), "random"));
  }
  RealClock clock;
  std::vector<double> seconds;
  double loss = 0;
  for (int64_t step = 0; step < flags.warmup + flags.steps; ++step) {
    const TimePoint begin = clock.now();
    const auto reports = trainer->step();
    loss = reports.front().loss;
    if (step >= flags.warmup) seconds.push_back(to_seconds(clock.now() - begin));
  }
  std::sort(seconds.begin(), seconds.end());
  const auto tokens = static_cast<double>(flags.jobs * flags.rows * flags.length);
  double total = 0;
  for (const double s : seconds) total += s;
  const train::MemoryPlan plan = trainer->plan();
  return Json{{"shape", flags.shape}, {"kind", flags.kind}, {"dtype", flags.dtype}, {"rank", flags.job.rank}, {"jobs", flags.jobs},
              {"rows", flags.rows}, {"length", flags.length}, {"threads", threads}, {"isa", kernels::isa_name(choice.isa)},
              {"recompute", flags.recompute}, {"steps", flags.steps}, {"tokens_per_s", tokens / seconds[seconds.size() / 2]},
              {"tokens_per_s_min", tokens / seconds.back()}, {"tokens_per_s_max", tokens / seconds.front()}, {"seconds", total},
              {"last_loss", loss}, {"weight_bytes", plan.weights}, {"plan_bytes", plan.beyond_weights()},
              {"plan", {{"adapters", plan.adapters}, {"activations", plan.activations}, {"scratch", plan.scratch}, {"kv", plan.kv}}},
              {"peak_resident_bytes", peak_resident_bytes()}};
}

Status run_bench_train(Flags flags) {
  ASSIGN_OR_RETURN(flags.job.kind, train::parse_train_kind(flags.kind));
  if (flags.job.kind != train::TrainKind::kIa3) flags.job.targets = train::default_targets(train::TrainKind::kFlora);  // all linear layers
  ASSIGN_OR_RETURN(const Json result, measure(flags));
  if (flags.json) {
    std::cout << result.dump() << "\n";
    return ok_status();
  }
  std::printf("%s, %s r%lld, %s, %lld jobs of %lld x %lld: %.0f tokens/s (%.0f to %.0f); beyond the weights (%.0f MB) %.0f MB planned, peak %.0f MB in all\n",
              flags.shape.c_str(), flags.kind.c_str(), static_cast<long long>(flags.job.rank), flags.dtype.c_str(), static_cast<long long>(flags.jobs),
              static_cast<long long>(flags.rows), static_cast<long long>(flags.length), result["tokens_per_s"].get<double>(),
              result["tokens_per_s_min"].get<double>(), result["tokens_per_s_max"].get<double>(), result["weight_bytes"].get<double>() / 1e6,
              result["plan_bytes"].get<double>() / 1e6, result["peak_resident_bytes"].get<double>() / 1e6);
  return ok_status();
}

}  // namespace

void add_bench_train(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  flags->job = train::JobSpec{.rank = 16, .alpha = 32, .learning_rate = 1e-4, .schedule = train::ScheduleKind::kConstant, .warmup_share = 0, .clip = 0};
  CLI::App* verb = program.add_subcommand("bench-train", "measure training speed and memory on random weights and rows");
  verb->add_option("--shape", flags->shape, "10m, 125m or 1.1b")->capture_default_str();
  verb->add_option("--kind", flags->kind, "adapter kind, on all linear layers")->capture_default_str();
  verb->add_option("--rank", flags->job.rank, "rank")->capture_default_str();
  verb->add_option("--dtype", flags->dtype, "of the frozen weights: f32, bf16, f16; int8, nf4, nf4-dq: linear layers quantised")->capture_default_str();
  verb->add_option("--jobs", flags->jobs, "adapters trained at once")->check(CLI::Range(1, 4096))->capture_default_str();
  verb->add_option("--rows", flags->rows, "rows of one optimizer step of one job")->check(CLI::Range(1, 65536))->capture_default_str();
  verb->add_option("--length", flags->length, "tokens of a row")->check(CLI::Range(1, 2047))->capture_default_str();
  verb->add_option("--steps", flags->steps, "timed steps")->check(CLI::Range(1, 100000))->capture_default_str();
  verb->add_option("--warmup", flags->warmup, "steps before them")->check(CLI::Range(0, 1000))->capture_default_str();
  verb->add_option("--pass-rows", flags->pass_rows, "rows computed at once")->check(CLI::Range(16, 1 << 20))->capture_default_str();
  verb->add_option("--threads", flags->threads, "0 = all CPUs")->check(CLI::Range(0, 1024))->capture_default_str();
  verb->add_option("--isa", flags->isa, "auto, generic, avx2, avx512, amx")->capture_default_str();
  verb->add_option("--arithmetic", flags->arithmetic, "auto, f32-fma, bf16-dot, amx-bf16")->capture_default_str();
  verb->add_flag("--recompute", flags->recompute, "compute activations again instead of keeping them");
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_bench_train(*flags)); }; });
}

}  // namespace umbel::apps
