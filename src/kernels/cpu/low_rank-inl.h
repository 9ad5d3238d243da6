// Shrink and expand tiles (table.h). The register tile is kTileRows x kTileVectors accumulators; edges run the same code with
// smaller tiles, and since every output has its own accumulator chain, the bits do not depend on the tiling.
namespace umbel::kernels::UMBEL_TARGET {

constexpr int kShrinkRows = 4;
constexpr int kShrinkRanks = kRegisters == 32 ? 6 : 2;
constexpr int kExpandRows = kRegisters == 32 ? 6 : 4;
constexpr int kExpandVectors = kRegisters == 32 ? 4 : 2;
// One row alone: nothing to share, so more independent chains and longer contiguous reads of the matrix.
constexpr int kShrinkRanksAlone = 8;
constexpr int kExpandVectorsAlone = kRegisters == 32 ? 16 : 8;
// One row alone waits for memory, over more streams than the hardware follows: ask for lines this far ahead.
constexpr int kLowRankAheadBytes = 768;
constexpr int kLowRankAheadRows = 4;

template <typename T, int kRows, int kRanks>
UMBEL_INLINE void shrink_tile(const ShrinkTile& t, int64_t row, int64_t rank) {
  const float* x[kRows];
  const T* a[kRanks];
  Vec sum[kRows][kRanks];
  for (int i = 0; i < kRows; ++i) x[i] = t.x + (row + i) * t.x_stride;
  for (int r = 0; r < kRanks; ++r) a[r] = static_cast<const T*>(t.a) + (rank + r) * t.a_stride;
  for (int i = 0; i < kRows; ++i) {
    for (int r = 0; r < kRanks; ++r) sum[i][r] = zero();
  }
  const int64_t row_bytes = t.in * static_cast<int64_t>(sizeof(T));
  const int64_t next_tile_bytes = kRanks * t.a_stride * static_cast<int64_t>(sizeof(T)) - row_bytes;
  int64_t k = 0;
  for (; k + kLanes <= t.in; k += kLanes) {
    int64_t ahead = k * static_cast<int64_t>(sizeof(T)) + kLowRankAheadBytes;
    if (ahead >= row_bytes) ahead += next_tile_bytes;  // where a row ends, that of the next tile begins
    Vec xv[kRows];
    for (int i = 0; i < kRows; ++i) xv[i] = load(x[i] + k);
    for (int r = 0; r < kRanks; ++r) {
      const Vec av = load(a[r] + k);
      if (kRows == 1 && k % (64 / static_cast<int>(sizeof(T))) == 0) {
        prefetch_l2(reinterpret_cast<const char*>(a[r]) + ahead);
      }
      for (int i = 0; i < kRows; ++i) sum[i][r] = fma(xv[i], av, sum[i][r]);
    }
  }
  if (k < t.in) {
    const int n = static_cast<int>(t.in - k);
    for (int r = 0; r < kRanks; ++r) {
      const Vec av = load_partial(a[r] + k, n);
      for (int i = 0; i < kRows; ++i) sum[i][r] = fma(load_partial(x[i] + k, n), av, sum[i][r]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    float* h = t.h + (row + i) * t.h_stride + rank;
    for (int r = 0; r < kRanks; ++r) {
      const float dot = reduce_add(sum[i][r]);
      h[r] = t.v == nullptr ? dot : dot * t.v[rank + r];
    }
  }
}

template <typename T, int kRows, int kRanks>
UMBEL_INLINE void shrink_rows(const ShrinkTile& t, int64_t row) {
  int64_t rank = 0;
  for (; rank + kRanks <= t.rank; rank += kRanks) shrink_tile<T, kRows, kRanks>(t, row, rank);
  if constexpr (kRanks > 2) {
    for (; rank + 2 <= t.rank; rank += 2) shrink_tile<T, kRows, 2>(t, row, rank);
  }
  for (; rank < t.rank; ++rank) shrink_tile<T, kRows, 1>(t, row, rank);
}

template <typename T>
static void shrink(const ShrinkTile& t) {
  int64_t row = 0;
  for (; row + kShrinkRows <= t.rows; row += kShrinkRows) shrink_rows<T, kShrinkRows, kShrinkRanks>(t, row);
  for (; row < t.rows; ++row) shrink_rows<T, 1, kShrinkRanksAlone>(t, row);
}

// kVectors vectors of outputs from column o; the last one has `lanes` lanes (only with kVectors == 1 fewer than kLanes).
template <typename T, int kRows, int kVectors>
UMBEL_INLINE void expand_tile(const ExpandTile& t, int64_t row, int64_t o, int lanes) {
  Vec sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j] = t.chain ? load_lanes(t.y + (row + i) * t.y_stride + o + j * kLanes, lanes) : zero();
    }
  }
  const float* h = t.h + row * t.h_stride;
  const T* b = static_cast<const T*>(t.b) + o;
  for (int64_t r = 0; r < t.rank; ++r, b += t.b_stride) {
    if constexpr (kRows == 1) {
      const Vec hv = set1(h[r]);
      if (kVectors > 4) {
        int64_t row_ahead = kLowRankAheadRows * t.b_stride;
        if (r + kLowRankAheadRows >= t.rank) row_ahead += kVectors * kLanes - t.rank * t.b_stride;  // the next columns
        const char* ahead = reinterpret_cast<const char*>(b + row_ahead);
        for (int j = 0; j < kVectors * kLanes * static_cast<int>(sizeof(T)); j += 64) prefetch_l2(ahead + j);
      }
      for (int j = 0; j < kVectors; ++j) sum[0][j] = fma(hv, load_lanes(b + j * kLanes, lanes), sum[0][j]);
    } else {
      Vec bv[kVectors];
      for (int j = 0; j < kVectors; ++j) bv[j] = load_lanes(b + j * kLanes, lanes);
      for (int i = 0; i < kRows; ++i) {
        const Vec hv = set1(h[i * t.h_stride + r]);
        for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(hv, bv[j], sum[i][j]);
      }
    }
  }
  if (t.chain) {
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kVectors; ++j) store_lanes(t.y + (row + i) * t.y_stride + o + j * kLanes, sum[i][j], lanes);
    }
    return;
  }
  for (int j = 0; j < kVectors; ++j) {
    Vec scale = set1(t.scale);
    if (t.u != nullptr) scale = mul(load_lanes(t.u + o + j * kLanes, lanes), scale);
    for (int i = 0; i < kRows; ++i) {
      float* y = t.y + (row + i) * t.y_stride + o + j * kLanes;
      store_lanes(y, fma(scale, sum[i][j], load_lanes(y, lanes)), lanes);
    }
  }
}

template <typename T, int kRows, int kVectors>
UMBEL_INLINE void expand_rows(const ExpandTile& t, int64_t row) {
  int64_t o = 0;
  for (; o + kVectors * kLanes <= t.cols; o += kVectors * kLanes) expand_tile<T, kRows, kVectors>(t, row, o, kLanes);
  if constexpr (kVectors > 4) {
    for (; o + 4 * kLanes <= t.cols; o += 4 * kLanes) expand_tile<T, kRows, 4>(t, row, o, kLanes);
  }
  for (; o + kLanes <= t.cols; o += kLanes) expand_tile<T, kRows, 1>(t, row, o, kLanes);
  if (o < t.cols) expand_tile<T, kRows, 1>(t, row, o, static_cast<int>(t.cols - o));
}

// The rows after the last whole tile: two or more share their loads of b in a smaller tile.
template <typename T, int kRows>
UMBEL_INLINE void expand_rest(const ExpandTile& t, int64_t row) {
  if constexpr (kRows > 1) {
    if (t.rows - row == kRows) return expand_rows<T, kRows, kExpandVectors>(t, row);
    expand_rest<T, kRows - 1>(t, row);
  } else if (row < t.rows) {
    expand_rows<T, 1, kExpandVectorsAlone>(t, row);
  }
}

template <typename T>
static void expand(const ExpandTile& t) {
  int64_t row = 0;
  for (; row + kExpandRows <= t.rows; row += kExpandRows) expand_rows<T, kExpandRows, kExpandVectors>(t, row);
  expand_rest<T, kExpandRows - 1>(t, row);
}

}  // namespace umbel::kernels::UMBEL_TARGET
