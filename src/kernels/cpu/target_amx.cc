// The matmul of amx; everything else of its table is AVX-512's (table.cc). Flags in house.cmake, rules in leaf-inl.h.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/table.h"

#define UMBEL_TARGET amx
#include "kernels/cpu/vec_avx512-inl.h"
// (the vectors come first)
#include "kernels/cpu/matmul-inl.h"

namespace umbel::kernels::amx {

extern const MatmulTable kMatmul;
const MatmulTable kMatmul = kMatmulTable;

}  // namespace umbel::kernels::amx
