// Products of 8-bit numbers: weights as codes + 128 (unsigned), x rounded to signed codes group by group. Sums of a group's products
// are exact whole numbers, so their order is no matter; the groups of a row follow one another in one chain of f32 multiply-adds.
// Included by matmul-inl.h. Leaf code: allocates nothing, any thread.
#pragma once

#include "kernels/matmul_table.h"

#if UMBEL_HAS_INT8_DOT
namespace umbel::kernels::UMBEL_TARGET {

// A group's codes to codes[64], zeros from `count` on; its scale comes back: 0 where all is (nearly) zero, NaN where a value is not
// finite.
UMBEL_INLINE float round_to_codes(const float* x, int64_t count, int8_t* codes) {
  constexpr float kSmallest = 1e-30f;  // below it, 127 / largest may not be a number
  constexpr int kVectors = (int)(kInt8Group / kLanes);
  Vec values[kVectors];
  Vec largest = zero(), not_finite = zero();
  UMBEL_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int64_t rest = count - v * kLanes;
    values[v] = rest >= kLanes ? load(x + v * kLanes) : rest > 0 ? load_partial(x + v * kLanes, (int)rest) : zero();
    largest = max(largest, max(values[v], sub(zero(), values[v])));
    not_finite = fma(values[v], zero(), not_finite);
  }
  const float most = reduce_max(largest);
  const bool any = most >= kSmallest;
  const Vec inverse = set1(any ? 127.0f / most : 0.0f);
  UMBEL_UNROLL
  for (int v = 0; v < kVectors; ++v) store_codes(codes + v * kLanes, round_nearest(mul(values[v], inverse)));
  return (any ? most / 127.0f : 0.0f) + reduce_add(not_finite);
}

static void pack_x_int8(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed) {
  uint32_t* words = (uint32_t*)packed;
  for (int64_t begin = 0; begin < k_padded; begin += kInt8Group) {
    float* scales = (float*)(words + kInt8Group / 4 * rows);
    int32_t* sums = (int32_t*)(scales + rows);
    const int64_t count = k - begin < kInt8Group ? k - begin : kInt8Group;
    for (int64_t r = 0; r < rows; ++r) {
      alignas(64) int8_t codes[kInt8Group];
      scales[r] = round_to_codes(x + r * x_stride + begin, count, codes);
      int32_t sum = 0;
      for (int i = 0; i < (int)kInt8Group; ++i) sum += codes[i];
      sums[r] = -kInt8Bias * sum;
      for (int i = 0; i < (int)kInt8Group / 4; ++i) __builtin_memcpy(words + i * rows + r, codes + 4 * i, 4);
    }
    words += kInt8GroupWords * rows;
  }
}

// One group of a tile: where it lies, and the chain of its rows, which goes on in memory (registers are for the sums).
struct Int8GroupPart {
  const uint32_t* x;
  const uint32_t* w;
  int64_t steps;  // of 4 k
  const char* ahead;
  int64_t ahead_step;
  float* y;
  int64_t y_stride;
};

// A function of its own, so that the sums have all registers.
template <int R>
__attribute__((noinline)) static void int8_group(const Int8GroupPart& part) {
  constexpr int V = (int)(kPanel / kLanes);
  const float* scales = (const float*)(part.x + kInt8Group / 4 * R);
  const int32_t* from = (const int32_t*)(scales + R);
  Words sums[R][V];
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) {
      sums[r][v] = set_words(from[r]);
      keep(sums[r][v]);  // or equal beginnings become one register, and the rest goes to the stack
    }
  }
  const uint32_t* x = part.x;
  const uint32_t* w = part.w;
  const char* ahead = part.ahead;
  for (int64_t i = 0; i < part.steps; ++i) {
    prefetch(ahead);
    prefetch(ahead + part.ahead_step / 2);
    ahead += part.ahead_step;
    Words weight[V];
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) weight[v] = load_words(w + v * kLanes);
    UMBEL_UNROLL
    for (int r = 0; r < R; ++r) {
      const Words row = broadcast_words(x + r);
      UMBEL_UNROLL
      for (int v = 0; v < V; ++v) sums[r][v] = dot_int8(sums[r][v], weight[v], row);
    }
    w += kPanel;
    x += R;
  }
  UMBEL_UNROLL
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) {
      float* chain = part.y + r * part.y_stride + v * kLanes;
      store(chain, fma(whole_words(sums[r][v]), set1(scales[r]), load(chain)));
    }
  }
}

template <int R>
static void int8_rows(const MatmulTile& tile, float* y, int64_t y_stride) {
  constexpr int V = (int)(kPanel / kLanes);
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) store(y + r * y_stride + v * kLanes, tile.from ? load(tile.from + r * kPanel + v * kLanes) : zero());
  }
  Int8GroupPart part = {(const uint32_t*)tile.x, (const uint32_t*)tile.w, 0, (const char*)tile.ahead, tile.ahead_step, y, y_stride};
  for (int64_t k = 0; k < tile.k; k += kInt8Group) {
    part.steps = (tile.k - k < kInt8Group ? tile.k - k : kInt8Group) / kInt8Cell;
    int8_group<R>(part);
    part.x += kInt8GroupWords * R;
    part.w += part.steps * kPanel;
    part.ahead += part.steps * tile.ahead_step;
  }
  if (tile.scales == nullptr) return;
  for (int r = 0; r < R; ++r) {
    UMBEL_UNROLL
    for (int v = 0; v < V; ++v) {
      float* chain = y + r * y_stride + v * kLanes;
      store(chain, mul(load(chain), load(tile.scales + v * kLanes)));
    }
  }
}

template <int R>
static void int8_tile(const MatmulTile& tile) {
  if (tile.cols == kPanel) return int8_rows<R>(tile, tile.y, tile.y_stride);
  float y[R * kPanel];  // a partial panel goes through a copy
  int8_rows<R>(tile, y, kPanel);
  for (int r = 0; r < R; ++r) {
    for (int64_t c = 0; c < tile.cols; ++c) tile.y[r * tile.y_stride + c] = y[r * kPanel + c];
  }
}

static void tile_int8_dot(const MatmulTile& tile) {
  typedef void (*Rows)(const MatmulTile&);
  static const Rows kRows[] = {int8_tile<1>, int8_tile<2>, int8_tile<3>,  int8_tile<4>,  int8_tile<5>,  int8_tile<6>,  int8_tile<7>,
                               int8_tile<8>, int8_tile<9>, int8_tile<10>, int8_tile<11>, int8_tile<12>, int8_tile<13>, int8_tile<14>};
  kRows[tile.rows - 1](tile);
}

}  // namespace umbel::kernels::UMBEL_TARGET
#endif
