// One forward call of a random-weight model: a prompt in one chunk with the head on its last row, and decode steps of several
// sequences 512 tokens into their contexts.
//
//     build/bench/bench/model_forward_bench [--benchmark_filter=...]      UMBEL_BENCH_THREADS=N for other than all CPUs
//
// To see where the time goes: perf record -g build/bench/bench/model_forward_bench --benchmark_filter=prefill
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "base/threads.h"
#include "models/random_model.h"

namespace umbel {
namespace {

// 1.1 billion parameters, and the shape of assets/seedling (9.9 million), where what is not a matmul weighs more.
ModelConfig config_of(bool large) {
  Json json = Json::parse(R"({"model_type": "llama", "vocab_size": 32000, "hidden_size": 2048,
      "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
      "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "dtype": "bfloat16"})");
  if (!large) {
    json.update(Json::parse(R"({"vocab_size": 4096, "hidden_size": 256, "intermediate_size": 704,
        "num_hidden_layers": 12, "num_attention_heads": 8, "tie_word_embeddings": true})"));
  }
  return parse_model_config(json).value();
}

// The model, its pool and a cache for `sequences` of at most `length` positions.
struct Workplace {
  Workplace(std::shared_ptr<const Model> model_in, const kernels::Choice& choice, int64_t sequences, int64_t length)
      : model(std::move(model_in)),
        pool(std::getenv("UMBEL_BENCH_THREADS") ? std::atoi(std::getenv("UMBEL_BENCH_THREADS")) : usable_cpus()),
        blocks_each((length + kernels::kKvBlockSize - 1) / kernels::kKvBlockSize),
        kv(model->kv_shape(), static_cast<int32_t>(sequences * blocks_each)),
        blocks(sequences * blocks_each),
        scratch(model->scratch_bytes(std::max(length, sequences), sequences, 0)),
        context{kernels::table_for(choice.isa), choice, pool, scratch},
        logits(sequences * model->config().vocab_size) {
    std::iota(blocks.begin(), blocks.end(), 0);
  }

  // The rows [begin, end) of every sequence; the head on the last row of each.
  void step(int32_t sequences, int32_t begin, int32_t end) {
    tokens.clear(), positions.clear(), slots.clear(), key_begin.clear(), key_end.clear(), wanted.clear(), spans.clear();
    for (int32_t s = 0; s < sequences; ++s) {
      const int32_t* table = blocks.data() + s * blocks_each;
      spans.push_back({static_cast<int32_t>(tokens.size()), end - begin, table});
      for (int32_t p = begin; p < end; ++p) {
        tokens.push_back((p * 37 + s * 101) % 4096);
        positions.push_back(p);
        slots.push_back(table[p / kernels::kKvBlockSize] * kernels::kKvBlockSize + p % kernels::kKvBlockSize);
        key_begin.push_back(0);
        key_end.push_back(p + 1);
      }
      wanted.push_back(static_cast<int32_t>(tokens.size()) - 1);
    }
    const Segment segment{0, static_cast<int32_t>(tokens.size()), nullptr};
    model->forward(context,
                   {.tokens = tokens, .positions = positions, .rope_lengths = positions, .kv_slots = slots,
                    .key_begin = key_begin, .key_end = key_end, .spans = spans, .segments = {&segment, 1},
                    .logit_rows = wanted},
                   kv, MatrixF(logits.data(), sequences, model->config().vocab_size));
  }

  std::shared_ptr<const Model> model;
  ThreadPool pool;
  int64_t blocks_each;
  KvCache kv;
  std::vector<int32_t> blocks;
  Arena scratch;
  kernels::Context context;
  std::vector<float> logits;
  std::vector<int32_t> tokens, positions, slots, key_begin, key_end, wanted;
  std::vector<kernels::AttentionSpan> spans;
};

const kernels::Choice& choice() {
  static const kernels::Choice choice = kernels::choose({.cache_dir = kernels::default_cache_dir()}).value();
  return choice;
}

// Made once per shape, only when a benchmark of it runs.
std::shared_ptr<const Model> model_of(bool large) {
  static std::shared_ptr<const Model> models[2];
  std::shared_ptr<const Model>& model = models[large];
  if (!model) model = make_random_model(config_of(large), 1, {.dtype = "bf16", .choice = choice()}).value();
  return model;
}

// Bytes of weights that a step with few rows reads: all but an embedding table of its own.
double read_bytes(const Model& model) {
  const ModelConfig& c = model.config();
  const double table = c.tie_word_embeddings ? 0.0 : 2.0 * static_cast<double>(c.vocab_size * c.hidden_size);
  return static_cast<double>(model.weight_bytes()) - table;
}

benchmark::Counter rate(double amount, const benchmark::State& state) {
  return {amount * static_cast<double>(state.iterations()) * 1e-9, benchmark::Counter::kIsRate};
}

void prefill(benchmark::State& state) {
  const auto length = static_cast<int32_t>(state.range(1));
  Workplace place(model_of(state.range(0) != 0), choice(), 1, length);
  const ModelConfig& c = place.model->config();
  place.step(1, 0, length);  // touches the scratch memory
  for (auto _ : state) place.step(1, 0, length);
  const double layer_weights = read_bytes(*place.model) / 2 - static_cast<double>(c.vocab_size * c.hidden_size);
  const double attention = 2.0 * static_cast<double>(c.layers * c.heads * c.head_dim) * length * length;  // causal half
  state.counters["GFLOP/s"] = rate(2 * layer_weights * length + attention, state);
  state.SetLabel(choice().reason);
}
BENCHMARK(prefill)->ArgNames({"large", "tokens"})->Args({1, 512})->Args({1, 128})->Args({0, 512})->Unit(benchmark::kMillisecond)->UseRealTime();

void decode(benchmark::State& state) {
  const auto sequences = static_cast<int32_t>(state.range(1));
  constexpr int32_t kContext = 512;
  Workplace place(model_of(state.range(0) != 0), choice(), sequences, kContext + 1);
  const ModelConfig& c = place.model->config();
  place.step(sequences, kContext, kContext + 1);
  for (auto _ : state) place.step(sequences, kContext, kContext + 1);
  const double kv = 2.0 * 2 * static_cast<double>(c.layers * c.kv_heads * c.head_dim) * kContext * sequences;
  state.counters["GB/s"] = rate(read_bytes(*place.model) + kv, state);
}
BENCHMARK(decode)->ArgNames({"large", "sequences"})->ArgsProduct({{1, 0}, {1, 16}})->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace umbel

BENCHMARK_MAIN();
