// MatmulTable: the matmul leaf functions of one ISA, and the packed layout of FrozenMatrix that they read.
//
// Plain data: the leaf files include this. Leaf functions never allocate, start no threads, may be called by any thread.
//
// Packed layout. A panel holds kPanel = 32 neighbouring outputs, all of k, dense; panels follow one another. The last
// panel is padded with zero weights, and so is an odd k of bf16 weights (for AMX: k up to a multiple of 32; of int8: of 4).
//   f32   [k][32]           f16   [k][32]
//   bf16  [k/2][32][2]      the pair (k, k+1) of one output is one 32-bit word: what VDPBF16PS and AMX tiles read, and
//                           widening to f32 is a shift for the even k and a mask for the odd k
//   int8  scale [32] f32, then codes + 128 as [k/4][32][4]: four k of one output are one 32-bit word, what VPDPBUSD reads
//   nf4   absmax [k/64][32] f32, then codes [k][16]: outputs j and 16 + j in the low and high half of byte j
//   nf4-dq  codes of absmax [k/64][32], then as nf4; behind all panels f32, the largest difference per 256 absmax
#pragma once

#include <stdint.h>

#include "kernels/scale_term.h"

namespace umbel::kernels {

inline constexpr int64_t kPanel = 32;
inline constexpr int64_t kNf4Block = 64;  // neighbours of a row that share an absmax
inline constexpr int64_t kInt8Cell = 4;
inline constexpr int kInt8Bias = 128;
// Rounded to 8 bits, this many neighbours of a row of x have one scale: largest / 127. Packed, they take for every row 16 words of
// codes, the scale (f32), and the whole number that makes up for kInt8Bias: -128 times the sum of the codes.
inline constexpr int64_t kInt8Group = 64;
inline constexpr int64_t kInt8GroupWords = kInt8Group / 4 + 2;

// y[rows, cols] = from + x w over a range of k of one panel. BATCH INVARIANT: each y is one chain of multiply-adds over
// ascending k, so any split of rows and of k gives the same bits.
struct MatmulTile {
  const void* x;     // packed by pack_x_*: [k][rows] f32, or [k/2][rows] pairs of bf16, or [k/64] groups of int8
  int64_t x_stride;  // not 0 (tile_f32 only): x is rows of f32 as they are, so many numbers apart
  int64_t rows;   // 1 .. MatmulTable::rows_max
  const void* w;  // the panel, at the first k of the range
  int64_t k;      // even for bf16 weights
  const float* from;  // [rows][32] dense, where an earlier range stopped; null = zeros. May be y.
  float* y;
  int64_t y_stride;
  int64_t cols;  // outputs of this panel that are wanted, 1 .. 32
  // Memory to prefetch meanwhile: `ahead`, moving on by ahead_step bytes per step of k (a pair for bf16, four for int8).
  const void* ahead;
  int64_t ahead_step;
  // tile_int8_dot: [32], what the sums are multiplied by at the end of k; null: k goes on. tile_nf4: absmax [k/64][32].
  const float* scales = nullptr;
  const float* levels = nullptr;  // tile_nf4: [16]
};

// square[k][32] *= sum over terms of row_t[row_begin + k] col_t[column_begin + column], for k < rows and columns below `columns`.
// row_t and col_t are pre and post of term t, exchanged when transposed (the square then holds W as it is, not W^T).
struct ModulateTile {
  float* square;
  int64_t rows;
  int64_t columns;  // 1 .. 32; what is beyond stays as it is
  const ScaleTerm* terms;
  int64_t count;
  int64_t row_begin;
  int64_t column_begin;
  bool transposed;
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
  // 8-bit products; null where the ISA has none. x to [k_padded / 64] groups, each codes [16][rows] words of four k, scales [rows],
  // sums [rows]; a group that holds a value which is not finite has the scale NaN. k of the tile from a group's begin on.
  void (*pack_x_int8)(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed);
  void (*tile_int8_dot)(const MatmulTile& tile);
  // nf4 for few rows, k a multiple of 64 from a block's begin on: widened in registers, the same bits as tile_f32 on what widen_nf4
  // writes, without writing it. x as pack_x_f32 packs it.
  int64_t nf4_rows_max;
  void (*tile_nf4)(const MatmulTile& tile);
  // AMX tiles; null elsewhere. rows <= amx_rows_max, k and k_padded multiples of 32; x is [k/32][rows][32] bf16.
  int64_t amx_rows_max;
  void (*pack_x_amx)(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed);
  void (*tile_bf16_amx)(const MatmulTile& tile);
  // The gradient goes through tile_f32 with the roles of in and out exchanged: these write the transpose of a square of
  // the weight, 32 outputs (a whole panel) by k <= 32 (even for bf16), widened, as target[32 outputs][32], zeros from k
  // on. `ahead`: a square to prefetch.
  void (*transpose_f32)(const void* w, int64_t k, float* target, const void* ahead);
  void (*transpose_f16)(const void* w, int64_t k, float* target, const void* ahead);
  void (*transpose_bf16)(const void* w, int64_t k, float* target, const void* ahead);
  // The same for the gradient through tile_bf16_dot and tile_bf16_amx: not widened, in pairs of outputs, target[16][32][2] bf16.
  // Null where the ISA has neither.
  void (*turn_bf16_pairs)(const void* w, int64_t k, uint32_t* target, const void* ahead);
  // k rows of a panel (even for bf16, from an even row on), widened to target[k][32].
  void (*widen_f32)(const void* w, int64_t k, float* target);
  void (*widen_f16)(const void* w, int64_t k, float* target);
  void (*widen_bf16)(const void* w, int64_t k, float* target);
  void (*modulate)(const ModulateTile& tile);
  // Quantised forms: k rows of codes, widened to target[k][32]. int8 (k a multiple of 4): scales[32]; nf4: absmax[32] of the one block that
  // holds all k, levels[16].
  void (*widen_int8)(const void* codes, int64_t k, const float* scales, float* target);
  void (*widen_nf4)(const void* codes, int64_t k, const float* absmax, const float* levels, float* target);

  // Yardsticks (machine_limits.h): `steps` rounds of independent multiply-adds in registers, the floating-point
  // operations done come back; a sum of all bytes' words read once (bytes: a multiple of 256).
  double (*peak_f32)(int64_t steps);
  double (*peak_bf16_dot)(int64_t steps);  // null where the ISA has none
  double (*peak_amx)(int64_t steps);       // likewise
  double (*peak_int8_dot)(int64_t steps);  // likewise
  uint64_t (*read)(const void* bytes, int64_t count);
};

}  // namespace umbel::kernels
