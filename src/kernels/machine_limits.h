// What this machine can do at most, measured in process: the yardsticks that kernel figures are shares of.
#pragma once

#include "kernels/choice.h"

namespace umbel::kernels {

// The rate in GFLOP/s of one thread's matmul tiles with cached operands, bf16 weights and this arithmetic (widening
// included): the best of several short runs, about 20 ms in all. REQUIRES: available_arithmetics(isa) lists it.
double arithmetic_gflops(Isa isa, Arithmetic arithmetic);

}  // namespace umbel::kernels
