// What the kernel benchmarks share: a context on the best ISA of this machine, and the fastest of many calls (a busy
// neighbour shows less in it than in a mean).
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "kernels/api.h"

namespace umbel::kernels {

// --threads=N; removed from the arguments. Default: all usable CPUs.
inline int take_threads(int& argc, char** argv) {
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
  return threads;
}

struct BenchMachine {
  explicit BenchMachine(int threads) : pool(threads) { choice.isa = available_isas().back(); }
  Context context() { return {table_for(choice.isa), choice, pool, scratch}; }
  Choice choice;
  ThreadPool pool;
  Arena scratch{size_t{256} << 20};
};

// Runs body until the benchmark is content and reports rates of the fastest call.
template <typename Body>
void measure(benchmark::State& state, double flops, double bytes, const Body& body) {
  double best = 1e9;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  state.counters["best_us"] = best * 1e6;
  state.counters["GFLOP/s"] = flops / best * 1e-9;
  state.counters["GB/s"] = bytes / best * 1e-9;
}

}  // namespace umbel::kernels
