// The frozen matmul against what this machine can do at most.
//
//   build/bench/bench/kernels_matmul_bench [--threads=N] [--benchmark_filter=...]
//
// Every line: a shape, M rows, an arithmetic and a stored type. GFLOP/s and the share of the measured instruction peak;
// GB/s of packed weights and the share of the measured read bandwidth. The larger share says which limit is near. Weights
// cycle through 256 MiB for M <= 64, as a model's layers do, and stay the same for larger M. Rates are those of the
// fastest call, so that a busy neighbour shows less; the limits are taken the same way.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/api.h"
#include "kernels/machine_limits.h"

namespace umbel::kernels {
namespace {

struct Way {
  Choice choice;
  DType stored;
  double peak_gflops;
};

struct Shape {
  int64_t out;
  int64_t in;
};

struct Machine {
  ThreadPool pool;
  Arena scratch{size_t{256} << 20};
  double read_gb_per_s = 0;

  explicit Machine(int threads) : pool(threads) {}
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<FrozenMatrix> make_weights(const Way& way, const Shape& shape, size_t total_bytes) {
  std::vector<uint16_t> values(shape.out * shape.in);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(0x3c00 + i * 2654435761u % 128);
  std::vector<FrozenMatrix> weights;
  size_t bytes = 0;
  do {
    weights.push_back(FrozenMatrix::pack({DType::kBF16, {shape.out, shape.in}, values.data()}, way.stored, way.choice));
    bytes += weights.back().bytes();
  } while (bytes < total_bytes);
  return weights;
}

void report(benchmark::State& state, const Machine& machine, const Way& way, double flops, double bytes, double best) {
  state.counters["GFLOP/s"] = flops / best * 1e-9;
  state.counters["of_peak_%"] = flops / best * 1e-7 / way.peak_gflops;
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["of_read_%"] = bytes / best * 1e-7 / machine.read_gb_per_s;
}

void run(benchmark::State& state, Machine& machine, const Way& way, const Shape& shape, bool gradient) {
  const int64_t rows = state.range(0);
  const std::vector<FrozenMatrix> weights = make_weights(way, shape, rows <= 64 ? size_t{256} << 20 : 0);
  std::vector<float> x(rows * (gradient ? shape.out : shape.in), 0.5f);
  std::vector<float> y(rows * (gradient ? shape.in : shape.out));
  const ConstMatrixF from(x.data(), rows, gradient ? shape.out : shape.in);
  const MatrixF to(y.data(), rows, gradient ? shape.in : shape.out);
  Context context{table_for(way.choice.isa), way.choice, machine.pool, machine.scratch};
  double best = 1e9;
  size_t next = 0;
  for (auto _ : state) {
    const FrozenMatrix& weight = weights[next++ % weights.size()];
    const double begin = seconds_now();
    if (gradient) {
      matmul_vjp_x(context, weight, from, to);
    } else {
      matmul(context, weight, from, to);
    }
    best = std::min(best, seconds_now() - begin);
  }
  const double flops = 2.0 * static_cast<double>(rows * shape.out * shape.in);
  report(state, machine, way, flops, static_cast<double>(weights[0].bytes()), best);
}

std::vector<Way> all_ways(ThreadPool& pool) {
  std::vector<Way> ways;
  for (Isa isa : available_isas()) {
    for (Arithmetic arithmetic : available_arithmetics(isa)) {
      const double peak = peak_gflops(isa, arithmetic, pool);
      std::printf("peak %s %s: %.0f GFLOP/s\n", std::string(isa_name(isa)).c_str(),
                  std::string(arithmetic_name(arithmetic)).c_str(), peak);
      ways.push_back({{isa, arithmetic}, DType::kBF16, peak});
      if (arithmetic != Arithmetic::kF32Fma) continue;
      for (DType stored : {DType::kF32, DType::kF16}) ways.push_back({{isa, arithmetic}, stored, peak});
    }
  }
  return ways;
}

void register_all(Machine& machine, const std::vector<Way>& ways) {
  constexpr Shape kShapes[] = {{2048, 2048}, {5632, 2048}, {2048, 5632}};
  for (const Way& way : ways) {
    for (const Shape& shape : kShapes) {
      for (const bool gradient : {false, true}) {
        const std::string name = std::string(gradient ? "vjp_x/" : "matmul/") + std::string(isa_name(way.choice.isa)) + "/" +
                                 std::string(arithmetic_name(way.choice.arithmetic)) + "/" +
                                 std::string(dtype_name(way.stored)) + "/" + std::to_string(shape.out) + "x" +
                                 std::to_string(shape.in);
        benchmark::RegisterBenchmark(name.c_str(), [&machine, way, shape, gradient](benchmark::State& state) {
          run(state, machine, way, shape, gradient);
        })->ArgName("M")->Arg(1)->Arg(4)->Arg(16)->Arg(64)->Arg(512)->Unit(benchmark::kMicrosecond)->MinTime(0.2)->UseRealTime();
      }
    }
  }
}

}  // namespace
}  // namespace umbel::kernels

int main(int argc, char** argv) {
  using namespace umbel;
  int threads = usable_cpus();
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--threads=", 10) == 0) {
      threads = std::max(1, std::atoi(argv[i] + 10));
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  kernels::Machine machine(threads);
  const std::vector<kernels::Way> ways = kernels::all_ways(machine.pool);
  machine.read_gb_per_s = kernels::read_gb_per_s(kernels::available_isas().back(), machine.pool);
  std::printf("threads: %d   read bandwidth: %.1f GB/s\n", threads, machine.read_gb_per_s);
  kernels::register_all(machine, ways);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
