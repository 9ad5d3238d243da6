// What this machine can do at most, measured in process: the yardsticks that kernel figures are shares of.
#pragma once

#include "base/threads.h"
#include "kernels/choice.h"

namespace umbel::kernels {

// The rate in GFLOP/s of one thread's matmul tiles with cached operands, bf16 weights and this arithmetic (widening
// included): the best of several short runs, about 20 ms in all. REQUIRES: available_arithmetics(isa) lists it.
double arithmetic_gflops(Isa isa, Arithmetic arithmetic);

// The best rate in GFLOP/s of this arithmetic's multiply-add instruction on all threads of the pool, operands in
// registers: the best of `runs` runs of about 10 ms.
double peak_gflops(Isa isa, Arithmetic arithmetic, ThreadPool& pool, int runs = 10);

// The best rate in GB/s (10^9 bytes) at which the threads of the pool together read memory that no cache holds: the best
// of `runs` passes over a buffer of `bytes` (huge pages where the system gives them), each thread its own parts of it.
double read_gb_per_s(Isa isa, ThreadPool& pool, size_t bytes = size_t{512} << 20, int runs = 6);

}  // namespace umbel::kernels
