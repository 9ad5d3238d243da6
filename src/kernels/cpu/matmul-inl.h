// Matmul arithmetic, once for all ISAs: register tiles over one packed panel. Included by the leaf files after their
// vec_*-inl.h; matmul_words-inl.h supplies what differs between ISAs (16-bit widening, the bf16 dot).
#pragma once

#include "kernels/cpu/matmul_words-inl.h"
// (the words come first)
#include "kernels/cpu/limits-inl.h"
#include "kernels/matmul_table.h"

namespace umbel::kernels::UMBEL_TARGET {

// ---- formats: how one step of k reads weights -----------------------------------------------------------------------
// kStep k per step; kWeightBytes of a panel and kX 32-bit words of packed x per row and step.
// step() does acc[r][v] += x[r] * w[v] for V vectors from output `lane`, in ascending k; weight() is the widened vector
// of one k (half 0 or 1 of the step) from output `lane`.
template <int R, int V>
struct Accumulators {
  Vec at[R][V];
};

struct FormatF32 {
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kWeightBytes = kPanel * 4;
  static constexpr int64_t kX = 1;
  UMBEL_INLINE Vec weight(const char* w, int lane, int) { return load((const float*)w + lane); }
  template <int R, int V>
  UMBEL_INLINE void step(const uint32_t* x, const char* w, int lane, Accumulators<R, V>& acc) {
    Vec weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load((const float*)w + lane + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast((const float*)x + r);
      for (int v = 0; v < V; ++v) acc.at[r][v] = fma(row, weight[v], acc.at[r][v]);
    }
  }
};

struct FormatF16 {
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kWeightBytes = kPanel * 2;
  static constexpr int64_t kX = 1;
  UMBEL_INLINE Vec weight(const char* w, int lane, int) { return load_f16((const uint16_t*)w + lane); }
  template <int R, int V>
  UMBEL_INLINE void step(const uint32_t* x, const char* w, int lane, Accumulators<R, V>& acc) {
    Vec weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load_f16((const uint16_t*)w + lane + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast((const float*)x + r);
      for (int v = 0; v < V; ++v) acc.at[r][v] = fma(row, weight[v], acc.at[r][v]);
    }
  }
};

struct FormatBf16 {
  static constexpr int64_t kStep = 2;
  static constexpr int64_t kWeightBytes = kPanel * 4;
  static constexpr int64_t kX = 2;
  UMBEL_INLINE Vec weight(const char* w, int lane, int half) {
    return half == 0 ? widen_even((const uint32_t*)w + lane) : widen_odd((const uint32_t*)w + lane);
  }
  template <int R, int V>
  UMBEL_INLINE void step(const uint32_t* x, const char* w, int lane, Accumulators<R, V>& acc) {
    Vec weight[V];
    for (int v = 0; v < V; ++v) weight[v] = widen_even((const uint32_t*)w + lane + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast((const float*)x + r);
      for (int v = 0; v < V; ++v) acc.at[r][v] = fma(row, weight[v], acc.at[r][v]);
    }
    for (int v = 0; v < V; ++v) weight[v] = widen_odd((const uint32_t*)w + lane + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast((const float*)x + R + r);
      for (int v = 0; v < V; ++v) acc.at[r][v] = fma(row, weight[v], acc.at[r][v]);
    }
  }
};

#if UMBEL_HAS_BF16_DOT
struct FormatBf16Dot {
  static constexpr int64_t kStep = 2;
  static constexpr int64_t kWeightBytes = kPanel * 4;
  static constexpr int64_t kX = 1;
  template <int R, int V>
  UMBEL_INLINE void step(const uint32_t* x, const char* w, int lane, Accumulators<R, V>& acc) {
    Words weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load_words((const uint32_t*)w + lane + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Words row = broadcast_words(x + r);
      for (int v = 0; v < V; ++v) acc.at[r][v] = dot_bf16(acc.at[r][v], row, weight[v]);
    }
  }
};
#endif

// ---- tiles ----------------------------------------------------------------------------------------------------------
// R rows by V vectors of outputs, starting at output `lane` of the panel.
template <class Format, int R, int V>
static void tile_part(const MatmulTile& tile, int lane, float* y, int64_t y_stride) {
  Accumulators<R, V> acc;
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) acc.at[r][v] = tile.first ? zero() : load(y + r * y_stride + lane + v * kLanes);
  }
  const uint32_t* x = (const uint32_t*)tile.x;
  const char* w = (const char*)tile.w;
  for (int64_t k = 0; k < tile.k; k += Format::kStep) {
    prefetch(w + kPrefetchBytes);
    if (Format::kWeightBytes > 64) prefetch(w + kPrefetchBytes + 64);
    Format::template step<R, V>(x, w, lane, acc);
    x += R * Format::kX;
    w += Format::kWeightBytes;
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store(y + r * y_stride + lane + v * kLanes, acc.at[r][v]);
  }
}

// All 32 outputs of the panel for R rows; V is what the registers hold.
template <class Format, int R>
static void tile_rows(const MatmulTile& tile) {
  constexpr int kWide = R * (int)(kPanel / kLanes) + 4 <= kRegisters ? (int)(kPanel / kLanes) : 2;
  if (tile.cols == kPanel) {
    for (int lane = 0; lane < kPanel; lane += kWide * kLanes) {
      tile_part<Format, R, kWide>(tile, lane, tile.y, tile.y_stride);
    }
    return;
  }
  float y[R * kPanel];  // the last, partial panel goes through a copy
  for (int r = 0; r < R; ++r) {
    for (int64_t c = 0; c < kPanel; ++c) {
      y[r * kPanel + c] = !tile.first && c < tile.cols ? tile.y[r * tile.y_stride + c] : 0.0f;
    }
  }
  for (int lane = 0; lane < kPanel; lane += kWide * kLanes) tile_part<Format, R, kWide>(tile, lane, y, kPanel);
  for (int r = 0; r < R; ++r) {
    for (int64_t c = 0; c < tile.cols; ++c) tile.y[r * tile.y_stride + c] = y[r * kPanel + c];
  }
}

constexpr int kTileRows = kRegisters >= 32 ? 14 : 6;

template <class Format>
static void matmul_tile(const MatmulTile& tile) {
  typedef void (*Rows)(const MatmulTile&);
#if UMBEL_TILE_ROWS_14
  static const Rows kRows[] = {tile_rows<Format, 1>,  tile_rows<Format, 2>,  tile_rows<Format, 3>, tile_rows<Format, 4>,
                               tile_rows<Format, 5>,  tile_rows<Format, 6>,  tile_rows<Format, 7>, tile_rows<Format, 8>,
                               tile_rows<Format, 9>,  tile_rows<Format, 10>, tile_rows<Format, 11>,
                               tile_rows<Format, 12>, tile_rows<Format, 13>, tile_rows<Format, 14>};
#else
  static const Rows kRows[] = {tile_rows<Format, 1>, tile_rows<Format, 2>, tile_rows<Format, 3>,
                               tile_rows<Format, 4>, tile_rows<Format, 5>, tile_rows<Format, 6>};
#endif
  kRows[tile.rows - 1](tile);
}

static void pack_x_f32(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed) {
  float* target = (float*)packed;
  for (int64_t i = 0; i < k_padded; ++i) {
    for (int64_t r = 0; r < rows; ++r) *target++ = i < k ? x[r * x_stride + i] : 0.0f;
  }
}

UMBEL_INLINE uint32_t bf16_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16) | 0x40u;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

static void pack_x_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed) {
  uint32_t* target = (uint32_t*)packed;
  for (int64_t i = 0; i < k_padded; i += 2) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint32_t low = i < k ? bf16_bits(x[r * x_stride + i]) : 0;
      const uint32_t high = i + 1 < k ? bf16_bits(x[r * x_stride + i + 1]) : 0;
      *target++ = low | high << 16;
    }
  }
}

// ---- gradient towards x ---------------------------------------------------------------------------------------------
// S steps of k (S * kStep columns of dx) by R rows, over all panels of the tile.
template <class Format, int R, int S>
static void vjp_part(const MatmulVjpTile& tile, const float* dy, const char* w, float* dx, int64_t cols) {
  constexpr int kColumns = S * (int)Format::kStep;
  Vec acc[R][kColumns];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kColumns; ++c) acc[r][c] = zero();
  }
  for (int64_t panel = 0; panel < tile.panels; ++panel) {
    for (int lane = 0; lane < kPanel; lane += kLanes) {
      Vec gradient[R];
      for (int r = 0; r < R; ++r) gradient[r] = load(dy + r * tile.dy_stride + panel * kPanel + lane);
      for (int s = 0; s < S; ++s) {
        for (int half = 0; half < Format::kStep; ++half) {
          const Vec weight = Format::weight(w + s * Format::kWeightBytes, lane, half);
          const int c = s * (int)Format::kStep + half;
          for (int r = 0; r < R; ++r) acc[r][c] = fma(gradient[r], weight, acc[r][c]);
        }
      }
    }
    w += tile.panel_bytes;
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      if (c >= cols) break;
      float* target = dx + r * tile.dx_stride + c;
      const float sum = reduce_add(acc[r][c]);
      *target = tile.first ? sum : *target + sum;
    }
  }
}

template <class Format, int S>
static void vjp_columns(const MatmulVjpTile& tile, int64_t k, int64_t cols) {
  constexpr int kRows = kRegisters >= 32 ? 4 : 2;
  const char* w = (const char*)tile.w + k / Format::kStep * Format::kWeightBytes;
  int64_t r = 0;
  for (; r + kRows <= tile.rows; r += kRows) {
    vjp_part<Format, kRows, S>(tile, tile.dy + r * tile.dy_stride, w, tile.dx + r * tile.dx_stride + k, cols);
  }
  for (; r < tile.rows; ++r) {
    vjp_part<Format, 1, S>(tile, tile.dy + r * tile.dy_stride, w, tile.dx + r * tile.dx_stride + k, cols);
  }
}

template <class Format>
static void matmul_vjp(const MatmulVjpTile& tile) {
  constexpr int kSteps = (kRegisters >= 32 ? 6 : 4) / (int)Format::kStep;
  constexpr int64_t kColumns = kSteps * Format::kStep;
  int64_t k = 0;
  for (; k + kColumns <= tile.k; k += kColumns) vjp_columns<Format, kSteps>(tile, k, kColumns);
  for (; k < tile.k; k += Format::kStep) vjp_columns<Format, 1>(tile, k, tile.k - k);
}

// The formats' names in the table of this ISA.
#if UMBEL_HAS_BF16_DOT
#define UMBEL_TILE_BF16_DOT matmul_tile<FormatBf16Dot>
#define UMBEL_PEAK_BF16_DOT peak_bf16_dot
#else
#define UMBEL_TILE_BF16_DOT nullptr
#define UMBEL_PEAK_BF16_DOT nullptr
#endif
static constexpr MatmulTable kMatmulTable = {
    .rows_max = kTileRows,
    .pack_x_f32 = pack_x_f32,
    .pack_x_bf16 = pack_x_bf16,
    .tile_f32 = matmul_tile<FormatF32>,
    .tile_f16 = matmul_tile<FormatF16>,
    .tile_bf16 = matmul_tile<FormatBf16>,
    .tile_bf16_dot = UMBEL_TILE_BF16_DOT,
    .vjp_f32 = matmul_vjp<FormatF32>,
    .vjp_f16 = matmul_vjp<FormatF16>,
    .vjp_bf16 = matmul_vjp<FormatBf16>,
    .peak_f32 = peak_f32,
    .peak_bf16_dot = UMBEL_PEAK_BF16_DOT,
    .read = read_words,
};

}  // namespace umbel::kernels::UMBEL_TARGET
