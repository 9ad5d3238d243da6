// MatmulTable: the matmul leaf functions of one ISA, and the packed layout of FrozenMatrix that they read.
//
// Plain data: the leaf files include this. Leaf functions never allocate, start no threads, may be called by any thread.
//
// Packed layout. A panel holds kPanel = 32 neighbouring outputs, all of k, dense; panels follow one another. The last
// panel is padded with zero weights, and so is an odd k of bf16 weights.
//   f32   [k][32]           f16   [k][32]
//   bf16  [k/2][32][2]      the pair (k, k+1) of one output is one 32-bit word: what VDPBF16PS and AMX tiles read, and
//                           widening to f32 is a shift for the even k and a mask for the odd k
#pragma once

#include <stdint.h>

namespace umbel::kernels {

inline constexpr int64_t kPanel = 32;

// `rows` rows times one panel over a range of k. BATCH INVARIANT: each y is one chain of multiply-adds over ascending k
// that starts from zero (first) or from what y holds, so any split of rows and of k gives the same bits.
struct MatmulTile {
  const void* x;  // packed by pack_x_*: [k][rows] f32, or [k/2][rows] pairs of bf16
  int64_t rows;   // 1 .. MatmulTable::rows_max
  const void* w;  // the panel, at the first k of the range
  int64_t k;      // even for bf16 weights
  float* y;
  int64_t y_stride;
  int64_t cols;  // outputs of this panel that exist, 1 .. 32
  bool first;
};

// dx[rows, k] (+)= dy W over `panels` neighbouring panels. Each dx adds its products lane by lane over ascending panels
// in a vector and sums the lanes at the end, in an order fixed by the ISA.
struct MatmulVjpTile {
  const float* dy;  // [rows, panels * 32], no partial panel
  int64_t dy_stride;
  int64_t rows;           // any
  const void* w;          // first panel, at the first k
  int64_t panel_bytes;    // from a panel to the next
  int64_t panels;
  int64_t k;  // outputs of this call: columns of dx
  float* dx;
  int64_t dx_stride;
  bool first;  // overwrite dx, else add to it
};

struct MatmulTable {
  int64_t rows_max;  // rows of the widest MatmulTile
  // rows x k floats to [k_padded][rows], zeros for k and beyond; rows <= rows_max.
  void (*pack_x_f32)(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed);
  // The same rounded to bf16 (nearest even) in pairs, [k_padded / 2][rows] words.
  void (*pack_x_bf16)(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed);
  void (*tile_f32)(const MatmulTile& tile);
  void (*tile_f16)(const MatmulTile& tile);
  void (*tile_bf16)(const MatmulTile& tile);      // weights widened, f32 multiply-add
  void (*tile_bf16_dot)(const MatmulTile& tile);  // VDPBF16PS; null where the ISA has none
  void (*vjp_f32)(const MatmulVjpTile& tile);
  void (*vjp_f16)(const MatmulVjpTile& tile);
  void (*vjp_bf16)(const MatmulVjpTile& tile);

  // Yardsticks (machine_limits.h): `steps` rounds of independent multiply-adds in registers, the floating-point
  // operations done come back; a sum of all bytes' words read once (bytes: a multiple of 256).
  double (*peak_f32)(int64_t steps);
  double (*peak_bf16_dot)(int64_t steps);  // null where the ISA has none
  uint64_t (*read)(const void* bytes, int64_t count);
};

}  // namespace umbel::kernels
