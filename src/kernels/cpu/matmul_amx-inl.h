// Matmul on AMX tiles. Included by target_amx.cc after its vectors, and by matmul_amx_test.cc with the tile instructions
// played by plain code. Needs: tile_load_config, tile_release, TILE_ZERO, TILE_LOAD, TILE_STORE, TILE_DOT.
//
// Tiles 0-3 hold 2 x 2 squares of sums (16 rows by 16 outputs), 4-5 the rows, 6-7 the weights. A step takes 32 k: packed
// x is [k/32][rows][32] bf16, and the packed weights are in the instruction's own order already. Every row count takes
// the same steps of k in the same order, so the sums of a row do not depend on its neighbours.
#pragma once

#include "kernels/matmul_table.h"

namespace umbel::kernels::UMBEL_TARGET {

constexpr int64_t kAmxRows = 32;
constexpr int64_t kAmxStep = 32;  // k

// The 64 bytes of LDTILECFG.
struct TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

static void configure_tiles(int64_t rows) {
  const uint8_t upper = (uint8_t)(rows < 16 ? rows : 16);
  const uint8_t lower = (uint8_t)(rows > 16 ? rows - 16 : 1);  // unused below 17 rows, but no tile may be empty
  TileConfig config = {};
  config.palette = 1;
  for (int tile = 0; tile < 8; ++tile) config.row_bytes[tile] = 64;
  config.rows[0] = config.rows[1] = config.rows[4] = upper;
  config.rows[2] = config.rows[3] = config.rows[5] = lower;
  config.rows[6] = config.rows[7] = 16;
  tile_load_config(&config);
}

static void load_sums(const MatmulTile& tile) {
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
  if (!tile.from) return;
  TILE_LOAD(0, tile.from, kPanel * 4);
  TILE_LOAD(1, tile.from + 16, kPanel * 4);
  if (tile.rows > 16) {
    TILE_LOAD(2, tile.from + 16 * kPanel, kPanel * 4);
    TILE_LOAD(3, tile.from + 16 * kPanel + 16, kPanel * 4);
  }
}

static void store_sums(int64_t rows, float* y, int64_t y_stride) {
  TILE_STORE(0, y, y_stride * 4);
  TILE_STORE(1, y + 16, y_stride * 4);
  if (rows > 16) {
    TILE_STORE(2, y + 16 * y_stride, y_stride * 4);
    TILE_STORE(3, y + 16 * y_stride + 16, y_stride * 4);
  }
}

static void tile_bf16_amx(const MatmulTile& tile) {
  configure_tiles(tile.rows);
  load_sums(tile);
  const char* x = (const char*)tile.x;
  const char* w = (const char*)tile.w;
  const char* ahead = (const char*)tile.ahead;
  const int64_t ahead_bytes = tile.ahead_step * (kAmxStep / 2);
  for (int64_t k = 0; k < tile.k; k += kAmxStep) {
    for (int64_t i = 0; i < ahead_bytes; i += 64) prefetch(ahead + i);
    ahead += ahead_bytes;
    TILE_LOAD(6, w, kPanel * 4);
    TILE_LOAD(7, w + 64, kPanel * 4);
    TILE_LOAD(4, x, 64);
    TILE_DOT(0, 4, 6);
    TILE_DOT(1, 4, 7);
    if (tile.rows > 16) {
      TILE_LOAD(5, x + 16 * 64, 64);
      TILE_DOT(2, 5, 6);
      TILE_DOT(3, 5, 7);
    }
    x += tile.rows * 64;
    w += kAmxStep / 2 * kPanel * 4;
  }
  if (tile.cols == kPanel) {
    store_sums(tile.rows, tile.y, tile.y_stride);
  } else {
    float y[kAmxRows * kPanel];  // a partial panel goes through a copy
    store_sums(tile.rows, y, kPanel);
    for (int64_t r = 0; r < tile.rows; ++r) {
      for (int64_t c = 0; c < tile.cols; ++c) tile.y[r * tile.y_stride + c] = y[r * kPanel + c];
    }
  }
  tile_release();
}

// rows x k floats, rounded to bf16, to [k_padded / 32][rows][32]; k_padded is a multiple of 32, zeros for k and beyond.
static void pack_x_amx(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t k_padded, void* packed) {
  uint16_t* target = (uint16_t*)packed;
  for (int64_t i = 0; i < k_padded; i += kAmxStep) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x + r * x_stride + i;
      float tail[kAmxStep];
      if (i + kAmxStep > k) {
        for (int64_t c = 0; c < kAmxStep; ++c) tail[c] = i + c < k ? row[c] : 0.0f;
        row = tail;
      }
      for (int64_t c = 0; c < kAmxStep; c += kLanes) store_bf16(target + c, load(row + c));
      target += kAmxStep;
    }
  }
}

static double peak_amx(int64_t steps) {
  configure_tiles(kAmxRows);
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
  TILE_ZERO(4);
  TILE_ZERO(5);
  TILE_ZERO(6);
  TILE_ZERO(7);
  for (int64_t i = 0; i < steps; ++i) {
    TILE_DOT(0, 4, 6);
    TILE_DOT(1, 4, 7);
    TILE_DOT(2, 5, 6);
    TILE_DOT(3, 5, 7);
  }
  tile_release();
  return 4.0 * 2 * 16 * 16 * 32 * (double)steps;
}

}  // namespace umbel::kernels::UMBEL_TARGET
