// The AMX kernel with the tile instructions played by plain code, so that its logic is tested on every machine. Where the
// real instructions are, matmul_test.cc runs them too (available_isas() lists amx).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "tensor/dtype.h"

namespace umbel::kernels::amx_played {

// What the instructions do to the tile registers (Intel SDM, TDPBF16PS: even and odd k are summed apart, then added).
struct PlayedTile {
  int rows = 0;
  int row_bytes = 0;
  uint8_t data[16][64] = {};
};
thread_local PlayedTile played[8];

inline void tile_load_config(const void* config) {
  const uint8_t* bytes = static_cast<const uint8_t*>(config);
  ASSERT_EQ(bytes[0], 1);
  for (int tile = 0; tile < 8; ++tile) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * tile, 2);
    played[tile] = {.rows = bytes[48 + tile], .row_bytes = row_bytes};
    ASSERT_GE(played[tile].rows, 1);
    ASSERT_LE(played[tile].rows, 16);
    ASSERT_LE(row_bytes, 64);
  }
}
inline void tile_release() {
  for (PlayedTile& tile : played) tile = {};
}
inline void tile_zero(int tile) { std::memset(played[tile].data, 0, sizeof(played[tile].data)); }
inline void tile_load(int tile, const void* base, int64_t stride) {
  for (int r = 0; r < played[tile].rows; ++r) {
    std::memcpy(played[tile].data[r], static_cast<const char*>(base) + r * stride, played[tile].row_bytes);
  }
}
inline void tile_store(int tile, void* base, int64_t stride) {
  for (int r = 0; r < played[tile].rows; ++r) {
    std::memcpy(static_cast<char*>(base) + r * stride, played[tile].data[r], played[tile].row_bytes);
  }
}
inline float bf16_at(const PlayedTile& tile, int row, int index) {
  BF16 value;
  std::memcpy(&value, tile.data[row] + 2 * index, 2);
  return to_f32(value);
}
inline void tile_dot(int sum, int a, int b) {
  ASSERT_EQ(played[a].rows, played[sum].rows);
  ASSERT_EQ(played[b].rows, played[a].row_bytes / 4);
  for (int m = 0; m < played[sum].rows; ++m) {
    for (int n = 0; n < played[sum].row_bytes / 4; ++n) {
      float even = 0;
      float odd = 0;
      for (int k = 0; k < played[b].rows; ++k) {
        even = std::fma(bf16_at(played[a], m, 2 * k), bf16_at(played[b], k, 2 * n), even);
        odd = std::fma(bf16_at(played[a], m, 2 * k + 1), bf16_at(played[b], k, 2 * n + 1), odd);
      }
      float before;
      std::memcpy(&before, played[sum].data[m] + 4 * n, 4);
      const float after = before + (even + odd);
      std::memcpy(played[sum].data[m] + 4 * n, &after, 4);
    }
  }
}

}  // namespace umbel::kernels::amx_played

#define UMBEL_TARGET amx_played
#define TILE_ZERO(tile) tile_zero(tile)
#define TILE_LOAD(tile, base, stride) tile_load(tile, base, stride)
#define TILE_STORE(tile, base, stride) tile_store(tile, base, stride)
#define TILE_DOT(sum, a, b) tile_dot(sum, a, b)
#include "kernels/cpu/vec_generic-inl.h"
// (the vectors come first)
#include "kernels/cpu/matmul_amx-inl.h"

namespace umbel::kernels::amx_played {
namespace {

struct Case {
  std::vector<float> x;         // [rows, k], any f32
  std::vector<uint16_t> panel;  // [k_padded / 2][32][2]
  std::vector<float> expected;  // [rows, 32]

  Case(int64_t rows, int64_t k, int64_t k_padded) : x(rows * k), panel(k_padded * kPanel), expected(rows * kPanel) {
    std::mt19937 random(static_cast<uint32_t>(rows * 1000 + k));
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t o = 0; o < kPanel; ++o) panel[(i / 2 * kPanel + o) * 2 + i % 2] = to_bf16(normal(random)).bits;
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < kPanel; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < k; ++i) {
          sum += static_cast<double>(to_f32(to_bf16(x[r * k + i]))) *
                 to_f32(BF16{panel[(i / 2 * kPanel + o) * 2 + i % 2]});
        }
        expected[r * kPanel + o] = static_cast<float>(sum);
      }
    }
  }
};

TEST(MatmulAmx, AgreesWithDoublesForEveryRowCount) {
  for (const int64_t k : {1, 31, 32, 33, 96}) {
    const int64_t k_padded = (k + 31) / 32 * 32;
    for (int64_t rows = 1; rows <= kAmxRows; ++rows) {
      const Case c(rows, k, k_padded);
      std::vector<uint16_t> packed(rows * k_padded);
      pack_x_amx(c.x.data(), k, rows, k, k_padded, packed.data());
      for (const int64_t cols : {int64_t{1}, int64_t{17}, kPanel}) {
        std::vector<float> y(rows * 40, -7.0f);
        tile_bf16_amx({.x = packed.data(), .rows = rows, .w = c.panel.data(), .k = k_padded, .from = nullptr, .y = y.data(),
                       .y_stride = 40, .cols = cols, .ahead = c.panel.data(), .ahead_step = 0});
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t o = 0; o < cols; ++o) ASSERT_NEAR(y[r * 40 + o], c.expected[r * kPanel + o], 1e-4);
          for (int64_t o = cols; o < 40; ++o) ASSERT_EQ(y[r * 40 + o], -7.0f) << "written outside the panel";
        }
      }
    }
  }
}

TEST(MatmulAmx, SplittingKInStepsOf32KeepsTheBits) {
  const int64_t rows = 21;
  const int64_t k = 160;
  const Case c(rows, k, k);
  std::vector<uint16_t> packed(rows * k);
  pack_x_amx(c.x.data(), k, rows, k, k, packed.data());
  std::vector<float> whole(rows * kPanel);
  MatmulTile tile{.x = packed.data(), .rows = rows, .w = c.panel.data(), .k = k, .from = nullptr, .y = whole.data(),
                  .y_stride = kPanel, .cols = kPanel, .ahead = c.panel.data(), .ahead_step = 0};
  tile_bf16_amx(tile);
  std::vector<float> parts(rows * kPanel);
  tile.y = parts.data();
  tile.k = 96;
  tile_bf16_amx(tile);
  tile.x = packed.data() + 96 * rows;
  tile.w = c.panel.data() + 96 * kPanel;
  tile.k = 64;
  tile.from = parts.data();
  tile_bf16_amx(tile);
  EXPECT_EQ(std::memcmp(parts.data(), whole.data(), parts.size() * sizeof(float)), 0);
}

TEST(MatmulAmx, PeakCountsItsOperations) { EXPECT_EQ(peak_amx(1), 4.0 * 16 * 16 * 32 * 2); }

}  // namespace
}  // namespace umbel::kernels::amx_played
