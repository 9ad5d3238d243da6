// nf4 times few rows: a weight is widened in a register and used at once. Included by matmul-inl.h, whose Accumulators it uses. Leaf
// code: allocates nothing, any thread.
#pragma once

#include "kernels/matmul_table.h"

namespace umbel::kernels::UMBEL_TARGET {

constexpr int kNf4Rows = kRegisters >= 32 ? 6 : 2;  // with the panel's 32 outputs, their absmax and the levels in registers
constexpr int kHalf = (int)kPanel / 2;               // outputs whose codes are in the low halves of a row of bytes

// 64 k of the whole panel.
template <int R, int V>
UMBEL_INLINE void add_nf4_block(const float* x, const uint8_t* codes, const float* absmax, const Levels& levels, Accumulators<R, V>& acc) {
  Vec scale[V];
  UMBEL_UNROLL
  for (int v = 0; v < V; ++v) scale[v] = load(absmax + v * kLanes);
  for (int64_t k = 0; k < kNf4Block; ++k) {
    Vec weight[V];
    UMBEL_UNROLL
    for (int v = 0; v < V / 2; ++v) {
      weight[v] = mul(look_up_low(levels, codes + v * kLanes), scale[v]);
      weight[V / 2 + v] = mul(look_up_high(levels, codes + v * kLanes), scale[V / 2 + v]);
    }
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast(x + r);
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) add_product(acc.at[r][v], row, weight[v]);
    }
    x += R;
    codes += kHalf;
  }
}

template <int R>
static void nf4_rows(const MatmulTile& tile, float* y, int64_t y_stride) {
  constexpr int V = (int)(kPanel / kLanes);
  static_assert(V % 2 == 0, "a vector is not wider than the low halves");
  Accumulators<R, V> acc;
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) acc.at[r][v] = tile.from ? load(tile.from + r * kPanel + v * kLanes) : zero();
  }
  const Levels levels = load_levels(tile.levels);
  const float* x = (const float*)tile.x;
  const uint8_t* codes = (const uint8_t*)tile.w;
  const char* ahead = (const char*)tile.ahead;
  const float* absmax = tile.scales;
  for (int64_t k = 0; k < tile.k; k += kNf4Block) {
    for (int64_t i = 0; i < kNf4Block * kHalf; i += 64) prefetch(ahead + i);
    add_nf4_block<R, V>(x, codes, absmax, levels, acc);
    x += kNf4Block * R;
    codes += kNf4Block * kHalf;
    ahead += kNf4Block * tile.ahead_step;
    absmax += kPanel;
  }
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) store(y + r * y_stride + v * kLanes, acc.at[r][v]);
  }
}

template <int R>
static void nf4_tile(const MatmulTile& tile) {
  if (tile.cols == kPanel) return nf4_rows<R>(tile, tile.y, tile.y_stride);
  float y[R * kPanel];  // a partial panel goes through a copy
  nf4_rows<R>(tile, y, kPanel);
  for (int r = 0; r < R; ++r) {
    for (int64_t c = 0; c < tile.cols; ++c) tile.y[r * tile.y_stride + c] = y[r * kPanel + c];
  }
}

static void tile_nf4(const MatmulTile& tile) {
  typedef void (*Rows)(const MatmulTile&);
#if UMBEL_TILE_ROWS_14
  static const Rows kRows[] = {nf4_tile<1>, nf4_tile<2>, nf4_tile<3>, nf4_tile<4>, nf4_tile<5>, nf4_tile<6>};
#else
  static const Rows kRows[] = {nf4_tile<1>, nf4_tile<2>};
#endif
  kRows[tile.rows - 1](tile);
}

}  // namespace umbel::kernels::UMBEL_TARGET
