// Matmul arithmetic, once for all ISAs: register tiles over one packed panel. Included by the leaf files after their
// vec_*-inl.h; matmul_words-inl.h supplies what differs between ISAs (16-bit widening, the bf16 dot).
#pragma once

#include "kernels/cpu/matmul_words-inl.h"
// (the words come first)
#include "kernels/cpu/limits-inl.h"
#include "kernels/matmul_table.h"

namespace umbel::kernels::UMBEL_TARGET {

// ---- x: where a tile of R rows finds the words of the next step of k --------------------------------------------------
// As pack_x_* left them: kX words per row and step.
template <int R, int kX>
struct PackedX {
  const uint32_t* at;

  explicit PackedX(const MatmulTile& tile) : at((const uint32_t*)tile.x) {}
  const float* operator()(int word, int r) const { return (const float*)(at + word * R + r); }
  void next() { at += R * kX; }
};
// Rows as they are. Three of them share a pointer: the addressing of x86 reaches the second and third by the stride.
template <int R>
struct RowsOfX {
  static constexpr int kPointers = (R + 2) / 3;
  const float* at[kPointers];
  int64_t stride;

  explicit RowsOfX(const MatmulTile& tile) : stride(tile.x_stride) {
    for (int i = 0; i < kPointers; ++i) at[i] = (const float*)tile.x + 3 * i * stride;
  }
  const float* operator()(int, int r) const { return at[r / 3] + r % 3 * stride; }
  void next() {
    UMBEL_UNROLL
    for (int i = 0; i < kPointers; ++i) ++at[i];
  }
};

// ---- formats: how one step of k reads weights -----------------------------------------------------------------------
// kStep k per step; kWeightBytes of a panel and kX 32-bit words of x per row and step; kRowsAsTheyAre: x need not be packed.
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
  static constexpr bool kRowsAsTheyAre = true;
  UMBEL_INLINE Vec weight(const char* w, int lane, int) { return load((const float*)w + lane); }
  template <int R, int V, class X>
  UMBEL_INLINE void step(const X& x, const char* w, int lane, Accumulators<R, V>& acc) {
    Vec weight[V];
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) weight[v] = load((const float*)w + lane + v * kLanes);
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast(x(0, r));
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) add_product(acc.at[r][v], row, weight[v]);
    }
  }
};

struct FormatF16 {
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kWeightBytes = kPanel * 2;
  static constexpr int64_t kX = 1;
  static constexpr bool kRowsAsTheyAre = false;
  UMBEL_INLINE Vec weight(const char* w, int lane, int) { return load_f16((const uint16_t*)w + lane); }
  template <int R, int V, class X>
  UMBEL_INLINE void step(const X& x, const char* w, int lane, Accumulators<R, V>& acc) {
    Vec weight[V];
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) weight[v] = load_f16((const uint16_t*)w + lane + v * kLanes);
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast(x(0, r));
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) add_product(acc.at[r][v], row, weight[v]);
    }
  }
};

struct FormatBf16 {
  static constexpr int64_t kStep = 2;
  static constexpr int64_t kWeightBytes = kPanel * 4;
  static constexpr int64_t kX = 2;
  static constexpr bool kRowsAsTheyAre = false;
  UMBEL_INLINE Vec weight(const char* w, int lane, int half) {
    return half == 0 ? widen_even((const uint32_t*)w + lane) : widen_odd((const uint32_t*)w + lane);
  }
  template <int R, int V, class X>
  UMBEL_INLINE void step(const X& x, const char* w, int lane, Accumulators<R, V>& acc) {
    Vec weight[V];
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) weight[v] = widen_even((const uint32_t*)w + lane + v * kLanes);
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast(x(0, r));
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) add_product(acc.at[r][v], row, weight[v]);
    }
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) weight[v] = widen_odd((const uint32_t*)w + lane + v * kLanes);
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec row = broadcast(x(1, r));
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) add_product(acc.at[r][v], row, weight[v]);
    }
  }
};

#if UMBEL_HAS_BF16_DOT
struct FormatBf16Dot {
  static constexpr int64_t kStep = 2;
  static constexpr int64_t kWeightBytes = kPanel * 4;
  static constexpr int64_t kX = 1;
  static constexpr bool kRowsAsTheyAre = false;
  template <int R, int V, class X>
  UMBEL_INLINE void step(const X& x, const char* w, int lane, Accumulators<R, V>& acc) {
    Words weight[V];
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) weight[v] = load_words((const uint32_t*)w + lane + v * kLanes);
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Words row = broadcast_words((const uint32_t*)x(0, r));
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) acc.at[r][v] = dot_bf16(acc.at[r][v], row, weight[v]);
    }
  }
};
#endif

// ---- tiles ----------------------------------------------------------------------------------------------------------
// R rows by V vectors of outputs, starting at output `lane` of the panel.
template <class Format, class X, int R, int V>
static void tile_part(const MatmulTile& tile, int lane, float* y, int64_t y_stride) {
  Accumulators<R, V> acc;
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) acc.at[r][v] = tile.from ? load(tile.from + r * kPanel + lane + v * kLanes) : zero();
  }
  X x(tile);
  const char* w = (const char*)tile.w;
  const char* ahead = (const char*)tile.ahead;
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    prefetch(y + r * y_stride + lane);
    if (V * kLanes > 16) prefetch(y + r * y_stride + lane + 16);
  }
  for (int64_t k = 0; k < tile.k; k += Format::kStep) {
    prefetch(ahead);
    if (Format::kWeightBytes > 64) prefetch(ahead + tile.ahead_step / 2);
    ahead += tile.ahead_step;
    Format::template step<R, V>(x, w, lane, acc);
    x.next();
    w += Format::kWeightBytes;
  }
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) store(y + r * y_stride + lane + v * kLanes, acc.at[r][v]);
  }
}

// All 32 outputs of the panel for R rows; V is what the registers hold.
template <class Format, class X, int R>
UMBEL_INLINE void tile_panel(const MatmulTile& tile) {
  constexpr int kWide = R * (int)(kPanel / kLanes) + 4 <= kRegisters ? (int)(kPanel / kLanes) : 2;
  if (tile.cols == kPanel) {
    for (int lane = 0; lane < kPanel; lane += kWide * kLanes) {
      tile_part<Format, X, R, kWide>(tile, lane, tile.y, tile.y_stride);
    }
    return;
  }
  float y[R * kPanel];  // a partial panel goes through a copy
  for (int lane = 0; lane < kPanel; lane += kWide * kLanes) tile_part<Format, X, R, kWide>(tile, lane, y, kPanel);
  for (int r = 0; r < R; ++r) {
    for (int64_t c = 0; c < tile.cols; ++c) tile.y[r * tile.y_stride + c] = y[r * kPanel + c];
  }
}

template <class Format, int R>
static void tile_rows(const MatmulTile& tile) {
  if constexpr (Format::kRowsAsTheyAre) {
    if (tile.x_stride != 0) return tile_panel<Format, RowsOfX<R>, R>(tile);
  }
  tile_panel<Format, PackedX<R, Format::kX>, R>(tile);
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

// 32-bit words of up to kTileRows rows to [word][rows], a square of vectors at a time; word(r, i) gives kLanes words of row r from
// word i on. Reading one number at a time would fight over the sets of the first-level cache when the stride is a power of two.
template <class Word>
UMBEL_INLINE void pack_words(int64_t rows, int64_t words, float* target, const Word& word) {
  for (int64_t i = 0; i < words; i += kLanes) {
    const int n = (int)(words - i < kLanes ? words - i : kLanes);
    if (rows == 1) {
      store_lanes(target + i, word(0, i), n);
      continue;
    }
    for (int64_t begin = 0; begin < rows; begin += kLanes) {
      const int count = (int)(rows - begin < kLanes ? rows - begin : kLanes);
      Vec square[kLanes];
      for (int r = 0; r < kLanes; ++r) square[r] = r < count ? word(begin + r, i) : zero();
      transpose(square);
      // A whole vector where what it writes too much is written again by the next word: partial stores are slow on many machines.
      for (int c = 0; c < n; ++c) {
        const bool whole = rows <= kLanes && (i + c) * rows + kLanes <= words * rows;
        store_lanes(target + (i + c) * rows + begin, square[c], whole ? kLanes : count);
      }
    }
  }
}

static void pack_x_f32(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed) {
  pack_words(rows, k_padded, (float*)packed, [&](int64_t r, int64_t i) {
    const float* row = x + r * x_stride + i;
    if (i + kLanes <= k) return load(row);
    return i < k ? load_partial(row, (int)(k - i)) : zero();
  });
}

static void pack_x_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed) {
  pack_words(rows, k_padded / 2, (float*)packed, [&](int64_t r, int64_t i) {
    uint16_t pairs[2 * kLanes];
    for (int half = 0; half < 2; ++half) {
      const int64_t first = 2 * i + half * kLanes;
      const float* row = x + r * x_stride + first;
      const Vec values = first + kLanes <= k ? load(row) : first < k ? load_partial(row, (int)(k - first)) : zero();
      store_bf16(pairs + half * kLanes, values);
    }
    float words[kLanes];
    __builtin_memcpy(words, pairs, sizeof(words));
    return load(words);
  });
}

}  // namespace umbel::kernels::UMBEL_TARGET

#include "kernels/cpu/matmul_turn-inl.h"  // needs the formats
#include "kernels/cpu/matmul_int8-inl.h"
#include "kernels/cpu/matmul_nf4-inl.h"

namespace umbel::kernels::UMBEL_TARGET {

// ---- a panel of any float type as f32, and its product with scale terms ----------------------------------------------
template <class Format>
static void widen_panel(const void* weight, int64_t k, float* target) {
  const char* w = (const char*)weight;
  for (int64_t i = 0; i < k; ++i) {
    const char* step = w + i / Format::kStep * Format::kWeightBytes;
    UMBEL_UNROLL
    for (int lane = 0; lane < kPanel; lane += kLanes) {
      store(target + i * kPanel + lane, Format::weight(step, lane, (int)(i % Format::kStep)));
    }
  }
}

static void modulate(const ModulateTile& t) {
  for (int64_t k = 0; k < t.rows; ++k) {
    for (int64_t lane = 0; lane < t.columns; lane += kLanes) {
      const int n = (int)(t.columns - lane < kLanes ? t.columns - lane : kLanes);
      Vec sum = zero();
      for (int64_t i = 0; i < t.count; ++i) {
        const float* row = t.transposed ? t.terms[i].post : t.terms[i].pre;
        const float* col = t.transposed ? t.terms[i].pre : t.terms[i].post;
        const Vec factor = set1(row == nullptr ? 1.0f : row[t.row_begin + k]);
        sum = fma(factor, col == nullptr ? set1(1.0f) : load_lanes(col + t.column_begin + lane, n), sum);
      }
      float* square = t.square + k * kPanel + lane;
      store_lanes(square, mul(load_lanes(square, n), sum), n);
    }
  }
}

// ---- quantised weights, widened into a buffer that tile_f32 reads ----------------------------------------------------
static void widen_int8(const void* codes, int64_t k, const float* scales, float* target) {
  const uint32_t* cell = (const uint32_t*)codes;
  const Vec bias = set1((float)kInt8Bias);
  for (int64_t i = 0; i < k; i += kInt8Cell) {
    UMBEL_UNROLL
    for (int lane = 0; lane < kPanel; lane += kLanes) {
      UMBEL_UNROLL
      for (int byte = 0; byte < (int)kInt8Cell; ++byte) {
        store(target + byte * kPanel + lane, mul(sub(byte_of(cell + lane, byte), bias), load(scales + lane)));
      }
    }
    cell += kPanel;
    target += kInt8Cell * kPanel;
  }
}

static void widen_nf4(const void* codes, int64_t k, const float* absmax, const float* levels, float* target) {
  const Levels table = load_levels(levels);
  const uint8_t* code = (const uint8_t*)codes;
  for (int64_t i = 0; i < k; ++i) {
    UMBEL_UNROLL
    for (int lane = 0; lane < kPanel / 2; lane += kLanes) {
      store(target + lane, mul(look_up_low(table, code + lane), load(absmax + lane)));
      store(target + 16 + lane, mul(look_up_high(table, code + lane), load(absmax + 16 + lane)));
    }
    code += kPanel / 2;
    target += kPanel;
  }
}

// The formats' names in the table of this ISA.
#if UMBEL_HAS_INT8_DOT
#define UMBEL_IF_INT8_DOT(value) value
#else
#define UMBEL_IF_INT8_DOT(value) nullptr
#endif
#if UMBEL_HAS_BF16_DOT
#define UMBEL_TILE_BF16_DOT matmul_tile<FormatBf16Dot>
#define UMBEL_TURN_BF16_PAIRS turn_bf16_pairs
#define UMBEL_PEAK_BF16_DOT peak_bf16_dot
#else
#define UMBEL_TILE_BF16_DOT nullptr
#define UMBEL_TURN_BF16_PAIRS nullptr
#define UMBEL_PEAK_BF16_DOT nullptr
#endif
#if defined(UMBEL_HAS_AMX)
#define UMBEL_IF_AMX(value) value
#else
#define UMBEL_IF_AMX(value) 0
#endif
static constexpr MatmulTable kMatmulTable = {
    .rows_max = kTileRows,
    .pack_x_f32 = pack_x_f32,
    .pack_x_bf16 = pack_x_bf16,
    .tile_f32 = matmul_tile<FormatF32>,
    .tile_f16 = matmul_tile<FormatF16>,
    .tile_bf16 = matmul_tile<FormatBf16>,
    .tile_bf16_dot = UMBEL_TILE_BF16_DOT,
    .pack_x_int8 = UMBEL_IF_INT8_DOT(pack_x_int8),
    .tile_int8_dot = UMBEL_IF_INT8_DOT(tile_int8_dot),
    .nf4_rows_max = kNf4Rows,
    .tile_nf4 = tile_nf4,
    .amx_rows_max = UMBEL_IF_AMX(kAmxRows),
    .pack_x_amx = UMBEL_IF_AMX(pack_x_amx),
    .tile_bf16_amx = UMBEL_IF_AMX(tile_bf16_amx),
    .transpose_f32 = transpose_square<FormatF32>,
    .transpose_f16 = transpose_square<FormatF16>,
    .transpose_bf16 = transpose_square<FormatBf16>,
    .turn_bf16_pairs = UMBEL_TURN_BF16_PAIRS,
    .widen_f32 = widen_panel<FormatF32>,
    .widen_f16 = widen_panel<FormatF16>,
    .widen_bf16 = widen_panel<FormatBf16>,
    .modulate = modulate,
    .widen_int8 = widen_int8,
    .widen_nf4 = widen_nf4,
    .peak_f32 = peak_f32,
    .peak_bf16_dot = UMBEL_PEAK_BF16_DOT,
    .peak_amx = UMBEL_IF_AMX(peak_amx),
    .peak_int8_dot = UMBEL_IF_INT8_DOT(peak_int8_dot),
    .read = read_words,
};

}  // namespace umbel::kernels::UMBEL_TARGET
