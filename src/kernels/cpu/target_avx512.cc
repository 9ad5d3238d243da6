// The leaf functions for avx512; flags in house.cmake, rules in leaf-inl.h.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/table.h"

#define UMBEL_TARGET avx512
#define UMBEL_TARGET_NAME "avx512"
#include "kernels/cpu/vec_avx512-inl.h"
// (the vectors come first)
#include "kernels/cpu/leaf-inl.h"
