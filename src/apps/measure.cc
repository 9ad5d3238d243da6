// umbel measure: how fast a model runs here, as shares of what this machine can do at most, and what adapters cost.
#include <algorithm>
#include <iostream>
#include <numeric>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/verb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/threads.h"
#include "io/json.h"
#include "kernels/machine_limits.h"
#include "models/random_model.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel measure                       random weights of the 1.1B Llama shape, bf16
  umbel measure seedling --json
  umbel measure --adapters 16 --rank 16 --prompt 512 --runs 7
Figures are medians over --runs with their minimum and maximum; the limits are measured in the same process.)";

struct Flags {
  ModelFlags model;
  int prompt = 512;
  int context = 128;   // keys a decode row attends to
  int batch = 16;
  int adapters = 16;
  int rank = 16;
  int runs = 5;
  bool json = false;
};

// hidden 2048, 22 layers, 32/4 heads, ffn 5632, vocab 32000.
ModelConfig shape_1b() {
  ModelConfig config;
  config.model_type = "llama";
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = 32000;
  config.hidden_size = 2048;
  config.intermediate_size = 5632;
  config.layers = 22;
  config.heads = 32;
  config.kv_heads = 4;
  config.head_dim = 64;
  config.max_position_embeddings = 2048;
  config.norm_epsilon = 1e-5;
  config.window.assign(22, 0);
  return config;
}

// A random LoRA on q, k, v and o of every layer; factors stored as the model stores factors.
std::shared_ptr<const Adapter> random_adapter(const Model& model, int rank, uint64_t seed) {
  auto adapter = std::make_shared<Adapter>(model.targets().size());
  Random random(seed);
  const auto factor = [&](int64_t rows, int64_t cols) {
    Tensor wide(DType::kF32, {rows, cols});
    for (int64_t i = 0; i < wide.elements(); ++i) wide.f32()[i] = static_cast<float>(0.04 * random.next_double() - 0.02);
    return adapter->keep(Tensor::converted(wide.view(), model.factor_dtype()));
  };
  for (int32_t i = 0; i < model.targets().size(); ++i) {
    const Target& target = model.targets()[i];
    if (target.kind != TargetKind::kLinear || target.path.find("self_attn") == std::string::npos) continue;
    const void* a = factor(rank, target.in);
    const void* b_t = factor(rank, target.out);
    adapter->add_linear(i).low_rank.push_back({.rank = rank, .dtype = model.factor_dtype(), .a = a, .b_t = b_t,
                                               .a_stride = target.in, .b_stride = target.out, .scale = 2.0f});
  }
  adapter->finish();
  return adapter;
}

// One step as plain vectors: `sequences` of `count` rows each at positions [first, first + count).
struct StepData {
  std::vector<int32_t> tokens, positions, lengths, slots, key_begin, key_end, wanted;
  std::vector<std::vector<int32_t>> blocks;
  std::vector<kernels::AttentionSpan> spans;
  std::vector<Segment> segments;

  StepData(int sequences, int first, int count, std::span<const std::shared_ptr<const Adapter>> adapters) {
    const int per_sequence = (first + count + kernels::kKvBlockSize - 1) / kernels::kKvBlockSize;
    for (int s = 0; s < sequences; ++s) {
      auto& list = blocks.emplace_back(per_sequence);
      std::iota(list.begin(), list.end(), s * per_sequence);
    }
    for (int s = 0; s < sequences; ++s) {
      const auto row = static_cast<int32_t>(tokens.size());
      for (int p = first; p < first + count; ++p) {
        tokens.push_back(300 + (s * 131 + p * 7) % 3000);
        positions.push_back(p);
        lengths.push_back(p + 1);
        slots.push_back(blocks[s][p / kernels::kKvBlockSize] * kernels::kKvBlockSize + p % kernels::kKvBlockSize);
        key_begin.push_back(0);
        key_end.push_back(p + 1);
      }
      spans.push_back({row, count, blocks[s].data()});
      segments.push_back({row, count, adapters.empty() ? nullptr : adapters[s % adapters.size()].get()});
      wanted.push_back(row + count - 1);
    }
  }

  Rows rows() const {
    return {.tokens = tokens, .positions = positions, .rope_lengths = lengths, .kv_slots = slots, .key_begin = key_begin,
            .key_end = key_end, .spans = spans, .segments = segments, .logit_rows = wanted};
  }
  int32_t blocks_total() const { return static_cast<int32_t>(blocks.size() * blocks.front().size()); }
  int64_t keys() const { return std::accumulate(key_end.begin(), key_end.end(), int64_t{0}); }
};

struct Timing {
  double median_s = 0, min_s = 0, max_s = 0;
};

class Bench {
 public:
  Bench(const Model& model, const kernels::Choice& choice, int threads, int runs)
      : model_(model), choice_(choice), pool_(threads), runs_(runs) {}

  Timing time(const StepData& step, int rank_max) {
    const auto rows = static_cast<int64_t>(step.tokens.size());
    const auto wanted = static_cast<int64_t>(step.wanted.size());
    KvCache kv(model_.kv_shape(), step.blocks_total());
    Arena scratch(model_.scratch_bytes(rows, wanted, rank_max));
    kernels::Context context{kernels::table_for(choice_.isa), choice_, pool_, scratch};
    std::vector<float> logits(static_cast<size_t>(wanted * model_.config().vocab_size));
    const RealClock clock;
    std::vector<double> seconds;
    for (int run = -1; run < runs_; ++run) {  // the first one warms up
      const TimePoint begin = clock.now();
      model_.forward(context, step.rows(), kv, MatrixF(logits.data(), wanted, model_.config().vocab_size));
      if (run >= 0) seconds.push_back(to_seconds(clock.now() - begin));
    }
    std::sort(seconds.begin(), seconds.end());
    return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
  }
  ThreadPool& pool() { return pool_; }

 private:
  const Model& model_;
  const kernels::Choice& choice_;
  ThreadPool pool_;
  int runs_;
};

// Weights that one row goes through in the layers, and in the head.
struct WeightCount {
  int64_t layers = 0, head = 0;
  size_t bytes = 0;  // packed, layers and head
};

WeightCount count_weights(const Model& model) {
  WeightCount count;
  for (const Target& target : model.targets().targets()) {
    if (target.weight == nullptr || target.kind == TargetKind::kEmbedding) continue;
    (target.kind == TargetKind::kHead ? count.head : count.layers) += target.in * target.out;
    count.bytes += target.weight->bytes();
  }
  return count;
}

double step_flops(const Model& model, const StepData& step, const WeightCount& weights) {
  const ModelConfig& config = model.config();
  const double rows = static_cast<double>(step.tokens.size());
  const double head = static_cast<double>(step.wanted.size());
  const double attention = 4.0 * static_cast<double>(step.keys() * config.heads * config.head_dim * config.layers);
  return 2.0 * (rows * static_cast<double>(weights.layers) + head * static_cast<double>(weights.head)) + attention;
}

double step_bytes(const Model& model, const StepData& step, const WeightCount& weights) {
  const double per_token = static_cast<double>(model.kv_shape().block_bytes()) / kernels::kKvBlockSize;
  return static_cast<double>(weights.bytes) + static_cast<double>(step.keys()) * per_token;
}

Json timing_json(const Timing& timing, int64_t tokens) {
  return Json{{"median_s", timing.median_s}, {"min_s", timing.min_s}, {"max_s", timing.max_s},
              {"tokens_per_s", static_cast<double>(tokens) / timing.median_s}};
}

Json run_all(const Flags& flags, const Model& model, const kernels::Choice& choice, int threads) {
  Bench bench(model, choice, threads, flags.runs);
  const WeightCount weights = count_weights(model);
  const kernels::Arithmetic arithmetic = model.arithmetic();
  double best_peak = 0;
  Json limits{{"read_gb_per_s", kernels::read_gb_per_s(choice.isa, bench.pool())}};
  std::vector<kernels::Arithmetic> kinds = kernels::available_arithmetics(choice.isa);
  if (choice.int8 != kernels::Arithmetic::kF32Fma) kinds.push_back(choice.int8);
  for (const kernels::Arithmetic kind : kinds) {
    const double gflops = kernels::peak_gflops(choice.isa, kind, bench.pool());
    limits["peak_gflops"][std::string(kernels::arithmetic_name(kind))] = gflops;
    best_peak = std::max(best_peak, gflops);
  }
  Json out{{"isa", kernels::isa_name(choice.isa)}, {"arithmetic", kernels::arithmetic_name(arithmetic)}, {"threads", threads},
           {"dtype", model.weight_type()}, {"parameters", model.parameters()}, {"weight_bytes", model.weight_bytes()}};
  std::vector<std::shared_ptr<const Adapter>> adapters;
  for (int i = 0; i < flags.adapters; ++i) adapters.push_back(random_adapter(model, flags.rank, 100 + i));

  const StepData prefill(1, 0, flags.prompt, {});
  const Timing prefill_time = bench.time(prefill, 0);
  out["prefill"] = timing_json(prefill_time, flags.prompt);
  out["prefill"]["gflops"] = step_flops(model, prefill, weights) / prefill_time.median_s / 1e9;
  out["prefill"]["share_of_best_peak"] = out["prefill"]["gflops"].get<double>() / best_peak;

  const StepData one(1, flags.context - 1, 1, {});
  const Timing one_time = bench.time(one, 0);
  out["decode_1"] = timing_json(one_time, 1);
  out["decode_1"]["gb_per_s"] = step_bytes(model, one, weights) / one_time.median_s / 1e9;
  out["decode_1"]["share_of_bandwidth"] = out["decode_1"]["gb_per_s"].get<double>() / limits["read_gb_per_s"].get<double>();

  // Base and adapters in turn, so that a drifting machine hits both alike.
  const std::string name = "decode_" + std::to_string(flags.batch);
  const StepData base(flags.batch, flags.context - 1, 1, {});
  const StepData mixed(flags.batch, flags.context - 1, 1, adapters);
  std::vector<double> taxes;
  Timing base_time, mixed_time;
  for (int round = 0; round < 3; ++round) {
    base_time = bench.time(base, 0);
    mixed_time = adapters.empty() ? base_time : bench.time(mixed, flags.rank);
    taxes.push_back(1.0 - base_time.median_s / mixed_time.median_s);
  }
  std::sort(taxes.begin(), taxes.end());
  out[name] = timing_json(base_time, flags.batch);
  out[name + "_adapters"] = timing_json(mixed_time, flags.batch);
  out[name + "_adapters"]["adapters"] = flags.adapters;
  out[name + "_adapters"]["rank"] = flags.rank;
  out[name + "_adapters"]["throughput_lost"] = {{"median", taxes[1]}, {"min", taxes[0]}, {"max", taxes[2]}};
  out["limits"] = limits;
  return out;
}

void print_report(const Json& out) {
  std::cout << "machine: isa " << out["isa"].get<std::string>() << ", " << out["threads"] << " threads, read "
            << out["limits"]["read_gb_per_s"] << " GB/s, peaks " << out["limits"]["peak_gflops"].dump() << " GFLOP/s\n"
            << "model: " << out["parameters"] << " parameters, weights " << out["dtype"].get<std::string>() << ", arithmetic "
            << out["arithmetic"].get<std::string>() << "\n";
  for (const auto& [name, value] : out.items()) {
    if (!value.is_object() || !value.contains("tokens_per_s")) continue;
    std::printf("%-20s %10.1f tokens/s   step %.2f ms (%.2f to %.2f)", name.c_str(), value["tokens_per_s"].get<double>(),
                value["median_s"].get<double>() * 1e3, value["min_s"].get<double>() * 1e3, value["max_s"].get<double>() * 1e3);
    if (value.contains("share_of_best_peak")) std::printf("   %.1f %% of the best peak", value["share_of_best_peak"].get<double>() * 100);
    if (value.contains("share_of_bandwidth")) std::printf("   %.1f %% of the read bandwidth", value["share_of_bandwidth"].get<double>() * 100);
    if (value.contains("throughput_lost")) {
      const Json& lost = value["throughput_lost"];
      std::printf("   %.1f %% of the base's throughput lost (%.1f to %.1f)", lost["median"].get<double>() * 100,
                  lost["min"].get<double>() * 100, lost["max"].get<double>() * 100);
    }
    std::printf("\n");
  }
}

Status run_measure(const Flags& flags) {
  if (!set_log_level(flags.model.log_level)) return invalid_argument("--log-level: unknown level \"" + flags.model.log_level + "\"");
  kernels::ChoiceOptions wanted{.isa = flags.model.isa, .arithmetic = flags.model.arithmetic, .cache_dir = kernels::default_cache_dir()};
  ASSIGN_OR_RETURN(const kernels::Choice choice, kernels::choose(wanted));
  const ModelOptions options{.dtype = flags.model.dtype, .choice = choice};
  const int threads = flags.model.threads > 0 ? flags.model.threads : usable_cpus();
  std::shared_ptr<const Model> model;
  if (flags.model.model.empty()) {
    ASSIGN_OR_RETURN(model, make_random_model(shape_1b(), 1, options));
  } else {
    ASSIGN_OR_RETURN(const Path dir, find_model(flags.model.model));
    ASSIGN_OR_RETURN(model, load_model(dir, options));
  }
  const Json out = run_all(flags, *model, choice, threads);
  if (flags.json) {
    std::cout << out.dump(2) << "\n";
  } else {
    print_report(out);
  }
  return ok_status();
}

}  // namespace

void add_measure(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  flags->model.model.clear();
  CLI::App* verb = program.add_subcommand("measure", "speed of a model here, as shares of this machine's limits");
  flags->model.declare(*verb);
  verb->add_option("--prompt", flags->prompt, "tokens of the prefill")->check(CLI::Range(1, 65536))->capture_default_str();
  verb->add_option("--context", flags->context, "keys a decoded token attends to")->check(CLI::Range(1, 65536))->capture_default_str();
  verb->add_option("--batch", flags->batch, "sequences of the batched decode")->check(CLI::Range(1, 1024))->capture_default_str();
  verb->add_option("--adapters", flags->adapters, "distinct LoRA adapters (q, k, v, o) in the batch")->check(CLI::Range(0, 1024))->capture_default_str();
  verb->add_option("--rank", flags->rank, "their rank")->check(CLI::Range(1, 4096))->capture_default_str();
  verb->add_option("--runs", flags->runs, "timed runs per figure")->check(CLI::Range(1, 1000))->capture_default_str();
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_measure(*flags)); }; });
}

}  // namespace umbel::apps
