// The leaf functions for amx; flags in house.cmake, rules in leaf-inl.h.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/table.h"

#define UMBEL_TARGET amx
#define UMBEL_TARGET_NAME "amx"
#include "kernels/cpu/vec_avx512-inl.h"
// (the vectors come first)
#include "kernels/cpu/leaf-inl.h"
