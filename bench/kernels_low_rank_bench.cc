// Segmented low rank: shrink + expand as a linear layer calls them.
//
//   build/bench/bench/kernels_low_rank_bench [--threads=N] [--benchmark_filter=...]
//
// decode: 16 adapters, one row each (bound by the bytes of A and B; the adapters cycle through 128 MiB, as a model's
// layers do); prefill: one adapter, 512 rows (bound by arithmetic). GB/s counts A and B, GFLOP/s 2 rank (in + out) a row.
#include <string>
#include <vector>

#include "machine.h"

namespace umbel::kernels {
namespace {

struct Load {
  const char* name;
  int32_t segments;
  int32_t rows_each;
  int32_t rank;
};
constexpr Load kLoads[] = {{"decode", 16, 1, 16}, {"decode", 16, 1, 8}, {"decode", 16, 1, 64}, {"decode", 1, 1, 16},
                           {"prefill", 1, 512, 16}, {"prefill", 1, 512, 64}, {"prefill", 1, 512, 1024}, {"mixed", 16, 32, 16}};

struct Shape {
  int64_t in;
  int64_t out;
};

void run(benchmark::State& state, BenchMachine& machine, const Load& load, DType dtype, const Shape& shape) {
  const auto [in, out] = shape;
  const int64_t a_bytes = load.rank * in * size_of(dtype), b_bytes = load.rank * out * size_of(dtype);
  const int64_t step_bytes = load.segments * (a_bytes + b_bytes);
  const int64_t steps = load.rows_each == 1 ? std::max<int64_t>(1, (int64_t{128} << 20) / step_bytes) : 1;
  Arena arena(steps * step_bytes);  // huge pages, as large tensors have them
  const std::span<uint16_t> memory = arena.take<uint16_t>(steps * step_bytes / 2);
  std::fill(memory.begin(), memory.end(), 0x3c12);
  const int64_t rows = load.segments * load.rows_each;
  std::vector<float> x(rows * in, 0.01f), y(rows * out), h(rows * load.rank);
  std::vector<LowRankSegment> segments(load.segments);
  Context context = machine.context();
  int64_t step = 0;
  const double flops = 2.0 * static_cast<double>(rows * load.rank * (in + out));
  measure(state, flops, static_cast<double>(step_bytes), [&] {
    const char* next = reinterpret_cast<const char*>(memory.data()) + step++ % steps * step_bytes;
    for (int32_t s = 0; s < load.segments; ++s, next += a_bytes + b_bytes) {
      segments[s] = {s * load.rows_each, load.rows_each, load.rank, dtype, next, next + a_bytes, in, out, nullptr, nullptr,
                     0.5f, static_cast<int64_t>(s) * load.rows_each * load.rank};
    }
    segmented_shrink(context, segments, {x.data(), rows, in}, h.data());
    segmented_expand(context, segments, h.data(), {y.data(), rows, out});
  });
}

void register_all(BenchMachine& machine) {
  constexpr Shape kShapes[] = {{2048, 2048}, {256, 704}, {5632, 2048}};
  for (const Load& load : kLoads) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      for (const Shape& shape : kShapes) {
        const std::string name = std::string("low_rank/") + load.name + "/" + std::string(dtype_name(dtype)) + "/" +
                                 std::to_string(load.segments) + "x" + std::to_string(load.rows_each) + "/r" +
                                 std::to_string(load.rank) + "/" + std::to_string(shape.in) + "to" + std::to_string(shape.out);
        benchmark::RegisterBenchmark(name.c_str(), [&machine, load, dtype, shape](benchmark::State& state) {
          run(state, machine, load, dtype, shape);
        })->Unit(benchmark::kMicrosecond)->MinTime(0.1)->UseRealTime();
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
