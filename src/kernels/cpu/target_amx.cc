// The matmul of amx; everything else of its table is AVX-512's (table.cc). Flags in house.cmake, rules in leaf-inl.h.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/table.h"

#define UMBEL_TARGET amx
#include "kernels/cpu/vec_avx512-inl.h"
// (the vectors come first)
#define UMBEL_HAS_AMX 1
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, base, stride) _tile_loadd(tile, base, stride)
#define TILE_STORE(tile, base, stride) _tile_stored(tile, base, stride)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)
namespace umbel::kernels::amx {
UMBEL_INLINE void tile_load_config(const void* config) {
  __asm__ volatile("" ::"r"(config) : "memory");  // the intrinsic names only the first bytes as read
  _tile_loadconfig(config);
}
UMBEL_INLINE void tile_release() { _tile_release(); }
}  // namespace umbel::kernels::amx
#include "kernels/cpu/matmul_amx-inl.h"
// (the tiles come before the table)
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/matmul-inl.h"

namespace umbel::kernels::amx {

extern const MatmulTable kMatmul;
const MatmulTable kMatmul = kMatmulTable;

}  // namespace umbel::kernels::amx
