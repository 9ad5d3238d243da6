#include "kernels/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/context.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

double arithmetic_gflops(Isa isa, Arithmetic arithmetic) {
  constexpr int64_t kK = 256;
  const MatmulTable& table = table_for(isa).matmul;
  auto tile = table.tile_bf16;
  if (arithmetic == Arithmetic::kBf16Dot) tile = table.tile_bf16_dot;
  if (arithmetic == Arithmetic::kAmxBf16) tile = table.tile_bf16_amx;
  CHECK(tile != nullptr, "an arithmetic that this ISA does not have");
  const int64_t rows = arithmetic == Arithmetic::kAmxBf16 ? table.amx_rows_max : table.rows_max;
  std::vector<float> y(rows * kPanel);
  std::vector<uint32_t> x(rows * kK + 16);  // zero operands: the rate does not depend on values
  std::vector<uint32_t> w(kK * kPanel / 2 + 16);
  const MatmulTile call{.x = x.data(),
                        .rows = rows,
                        .w = w.data(),
                        .k = kK,
                        .from = nullptr,
                        .y = y.data(),
                        .y_stride = kPanel,
                        .cols = kPanel,
                        .ahead = w.data(),
                        .ahead_step = 0};
  const double flops = 2.0 * static_cast<double>(rows * kK * kPanel);
  int64_t calls = 16;
  double best = 0;
  for (int run = 0; run < 10; ++run) {
    const double begin = seconds_now();
    for (int64_t i = 0; i < calls; ++i) tile(call);
    const double elapsed = std::max(1e-7, seconds_now() - begin);
    best = std::max(best, calls * flops / elapsed * 1e-9);
    calls = std::max<int64_t>(16, static_cast<int64_t>(calls * 0.002 / elapsed));  // about 2 ms a run
  }
  return best;
}

double peak_gflops(Isa isa, Arithmetic arithmetic, ThreadPool& pool, int runs) {
  const MatmulTable& table = table_for(isa).matmul;
  auto peak = table.peak_f32;
  if (arithmetic == Arithmetic::kBf16Dot) peak = table.peak_bf16_dot;
  if (arithmetic == Arithmetic::kAmxBf16) peak = table.peak_amx;
  if (arithmetic == Arithmetic::kInt8Dot) peak = table.peak_int8_dot;
  CHECK(peak != nullptr, "an arithmetic that this ISA does not have");
  int64_t steps = 100;
  double best = 0;
  for (int run = 0; run < runs + 3; ++run) {
    const int64_t tasks = pool.threads() * 8;
    const double flops = peak(1) * static_cast<double>(steps * tasks);
    const double begin = seconds_now();
    pool.parallel_for(tasks, [&](int64_t, int) { peak(steps); });
    const double elapsed = std::max(1e-7, seconds_now() - begin);
    best = std::max(best, flops / elapsed * 1e-9);
    steps = std::max<int64_t>(100, static_cast<int64_t>(static_cast<double>(steps) * 0.010 / elapsed));
  }
  return best;
}

double read_gb_per_s(Isa isa, ThreadPool& pool, size_t bytes, int runs) {
  const auto read = table_for(isa).matmul.read;
  Arena buffer(bytes);
  const std::span<std::byte> all = buffer.take<std::byte>(bytes / 4096 * 4096);
  // Eight parts a thread, so that a busy core leaves the rest to the others.
  const int64_t parts = pool.threads() * 8;
  const int64_t part_bytes = static_cast<int64_t>(all.size()) / parts / 256 * 256;
  pool.parallel_for(parts, [&](int64_t part, int) { std::memset(all.data() + part * part_bytes, 1, part_bytes); });
  std::vector<uint64_t> sums(parts);
  double best = 0;
  for (int run = 0; run < runs; ++run) {
    const double begin = seconds_now();
    pool.parallel_for(parts, [&](int64_t part, int) { sums[part] += read(all.data() + part * part_bytes, part_bytes); });
    best = std::max(best, static_cast<double>(part_bytes * parts) / (seconds_now() - begin) * 1e-9);
  }
  return best;
}

}  // namespace umbel::kernels
