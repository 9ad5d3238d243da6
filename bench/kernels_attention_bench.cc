// Paged attention: decode (one row per sequence, long keys: bound by the cache's bytes) and prefill (bound by arithmetic).
//
//   build/bench/bench/kernels_attention_bench [--threads=N] [--benchmark_filter=...]
//
// GFLOP/s counts 4 * head_dim per visible (row, head, key); GB/s the bytes of K and V, read once.
#include <numeric>
#include <string>
#include <vector>

#include "machine.h"

namespace umbel::kernels {
namespace {

struct Shape {
  const char* name;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
};
constexpr Shape kShapes[] = {{"1.1B", 32, 4, 64}, {"8B", 32, 8, 128}, {"mha", 12, 12, 64}};

// `sequences` with `past` cached keys each and `rows` new rows; the last key of row i is past + i.
struct Load {
  int32_t sequences;
  int32_t rows;
  int32_t past;
};

void run(benchmark::State& state, BenchMachine& machine, const Shape& shape, DType dtype, const Load& load) {
  const int32_t keys = load.past + load.rows;
  const int32_t blocks_each = (keys + 15) / 16;
  const int64_t elements = static_cast<int64_t>(load.sequences) * blocks_each * kv_block_elements(shape.kv_heads, shape.head_dim);
  std::vector<uint16_t> k(elements * size_of(dtype) / 2, 0x3c12), v(k.size(), 0x3d34);
  const KvLayer layer = {k.data(), v.data(), dtype, kKvBlockSize, shape.kv_heads, shape.head_dim};
  std::vector<int32_t> blocks(load.sequences * blocks_each), begin(load.sequences * load.rows, 0), end;
  std::iota(blocks.begin(), blocks.end(), 0);
  for (size_t i = 0; i < blocks.size(); ++i) std::swap(blocks[i], blocks[i * 2654435761u % blocks.size()]);
  std::vector<AttentionSpan> spans;
  double pairs = 0;
  for (int32_t s = 0; s < load.sequences; ++s) {
    spans.push_back({s * load.rows, load.rows, blocks.data() + s * blocks_each});
    for (int32_t i = 0; i < load.rows; ++i) end.push_back(load.past + i + 1);
  }
  for (int32_t e : end) pairs += e;
  const int64_t rows = static_cast<int64_t>(end.size()), width = shape.heads * shape.head_dim;
  std::vector<float> q(rows * width, 0.01f), out(rows * width);
  Context context = machine.context();
  const double bytes = 2.0 * static_cast<double>(keys) * load.sequences * shape.kv_heads * shape.head_dim * size_of(dtype);
  measure(state, 4.0 * pairs * width, bytes, [&] {
    attention(context, {q.data(), rows, width}, layer, {spans, begin, end}, {shape.heads, 0.125f}, {out.data(), rows, width});
  });
}

void register_all(BenchMachine& machine) {
  const Load loads[] = {{16, 1, 512}, {16, 1, 2048}, {1, 1, 4096}, {1, 512, 0}, {1, 512, 2048}, {16, 24, 0}};
  for (const Shape& shape : kShapes) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      for (const Load& load : loads) {
        const std::string name = std::string("attention/") + shape.name + "/" + std::string(dtype_name(dtype)) + "/" +
                                 std::to_string(load.sequences) + "x" + std::to_string(load.rows) + "+" + std::to_string(load.past);
        benchmark::RegisterBenchmark(name.c_str(), [&machine, shape, dtype, load](benchmark::State& state) {
          run(state, machine, shape, dtype, load);
        })->Unit(benchmark::kMicrosecond)->MinTime(0.2)->UseRealTime();
      }
    }
  }
}

}  // namespace
}  // namespace umbel::kernels

int main(int argc, char** argv) {
  using namespace umbel::kernels;
  BenchMachine machine(take_threads(argc, argv));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  register_all(machine);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
