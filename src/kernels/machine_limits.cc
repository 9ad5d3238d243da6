#include "kernels/machine_limits.h"

#include <algorithm>
#include <chrono>
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
  const auto tile = arithmetic == Arithmetic::kF32Fma ? table.tile_bf16 : table.tile_bf16_dot;
  CHECK(tile != nullptr, "an arithmetic that this ISA does not have");
  std::vector<float> y(table.rows_max * kPanel);
  std::vector<uint32_t> x(table.rows_max * kK + 16);      // zero operands: the rate does not depend on values
  std::vector<uint32_t> w(kK * kPanel / 2 + 16);
  const MatmulTile call{.x = x.data(),
                        .rows = table.rows_max,
                        .w = w.data(),
                        .k = kK,
                        .y = y.data(),
                        .y_stride = kPanel,
                        .cols = kPanel,
                        .first = true};
  const double flops = 2.0 * table.rows_max * kK * kPanel;
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

}  // namespace umbel::kernels
