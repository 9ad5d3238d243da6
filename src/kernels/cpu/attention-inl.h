// One attention tile: up to kAttentionQueriesMax query vectors against the keys of one KV head of one sequence.
//
// Online softmax over steps of kStep keys, aligned to multiples of kStep in the sequence, ascending:
//   s_j = (scale q) . k_j          one fma chain over ascending d, per key; then cap tanh(s_j / cap) where there is a cap
//   m'  = max(m, max_j s_j);  p_j = exp(s_j - m');  c = exp(m - m')
//   l   = c l + p (16 partial sums by j mod 16);  acc = c acc + sum over ascending j of p_j v_j (one fma chain)
//   out = acc / l
// Everything about a query depends on its own q, range and keys only: queries of one tile share loads of K and V, never
// arithmetic, and keys outside a query's range are not multiplied but skipped (so garbage there can't leak).
// Online softmax: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
namespace umbel::kernels::UMBEL_TARGET {

constexpr int kBlock = 16;
constexpr int kStep = 64;
constexpr int kStepBlocks = kStep / kBlock;
constexpr int kStepVectors = kStep / kLanes;
constexpr int kSums = kBlock / kLanes;  // vectors of partial sums of l
constexpr int kQueryTile = kRegisters == 32 ? 6 : 4;
constexpr int kTileVectors = kRegisters == 32 ? 4 : 2;

// The state of all queries of a tile, cut from AttentionTile::scratch.
struct AttentionState {
  float* q;       // [count][padded], scale multiplied in
  float* acc;     // [count][padded]
  float* scores;  // [count][kStep]: s, then p
  float* sums;    // [count][16]
  float* m;       // [count]
};

UMBEL_INLINE AttentionState cut_scratch(const AttentionTile& t) {
  AttentionState s;
  s.q = t.scratch;
  s.acc = s.q + kAttentionQueriesMax * t.padded;
  s.scores = s.acc + kAttentionQueriesMax * t.padded;
  s.sums = s.scores + kAttentionQueriesMax * kStep;
  s.m = s.sums + kAttentionQueriesMax * 16;
  return s;
}

// scores[query..query + kQueries][vector.. + kVectors] for one step whose blocks' K start at k[0..kStepBlocks).
template <typename T, int kQueries, int kVectors>
UMBEL_INLINE void score_tile(const AttentionTile& t, const AttentionState& s, const T* const* k, int query, int vector) {
  const float* q[kQueries];
  const T* key[kVectors];
  Vec sum[kQueries][kVectors];
  for (int i = 0; i < kQueries; ++i) q[i] = s.q + (query + i) * t.padded;
  for (int j = 0; j < kVectors; ++j) {
    const int lane = (vector + j) * kLanes;
    key[j] = k[lane / kBlock] + lane % kBlock;
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) sum[i][j] = zero();
  }
  for (int d = 0; d < t.head_dim; ++d) {
    Vec kv[kVectors];
    for (int j = 0; j < kVectors; ++j) kv[j] = load(key[j] + d * kBlock);
    for (int i = 0; i < kQueries; ++i) {
      const Vec qv = set1(q[i][d]);
      for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(qv, kv[j], sum[i][j]);
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) store(s.scores + (query + i) * kStep + (vector + j) * kLanes, sum[i][j]);
  }
}

// Keys of the step that a query sees.
struct Visible {
  int begin;
  int end;
};

// Scores of the keys in `range` and at most some of their neighbours.
template <typename T, int kQueries>
UMBEL_INLINE void score_queries(const AttentionTile& t, const AttentionState& s, const T* const* k, int query,
                                Visible range) {
  int vector = range.begin / kLanes;
  const int vector_end = (range.end + kLanes - 1) / kLanes;
  if constexpr (kTileVectors > 2) {
    if (vector_end - vector <= 2) {
      score_tile<T, kQueries, 2>(t, s, k, query, vector < kStepVectors - 2 ? vector : kStepVectors - 2);
      return;
    }
  }
  for (vector = vector / kTileVectors * kTileVectors; vector < vector_end; vector += kTileVectors) {
    score_tile<T, kQueries, kTileVectors>(t, s, k, query, vector);
  }
}

// Scores of one query become weights; m, l and acc move to the new maximum. Visible keys of the step: [begin, end).
UMBEL_INLINE void softmax_step(const AttentionTile& t, const AttentionState& s, int query, int begin, int end) {
  float* scores = s.scores + query * kStep;
  float* sums = s.sums + query * 16;
  const int first = begin / kLanes;
  const int last = (end + kLanes - 1) / kLanes;
  if (t.cap != 0.0f) soft_cap_row(t.cap, scores + first * kLanes, (last - first) * kLanes);
  const Vec lowest = set1(-__builtin_inff());
  Vec largest = lowest;
  for (int j = first; j < last; ++j) {
    const Vec v = load(scores + j * kLanes);
    largest = max(select_range(v, lowest, begin - j * kLanes, end - j * kLanes), largest);
  }
  const float step_max = reduce_max(largest);
  const float before = s.m[query];
  if (step_max > before) {
    s.m[query] = step_max;
    const Vec correction = exp(set1(before - step_max));  // 0 at the first step
    for (int j = 0; j < kSums; ++j) store(sums + j * kLanes, mul(load(sums + j * kLanes), correction));
    float* acc = s.acc + query * t.padded;
    for (int d = 0; d < t.padded; d += kLanes) store(acc + d, mul(load(acc + d), correction));
  }
  const Vec m = set1(s.m[query]);
  for (int j = first; j < last; ++j) {
    const Vec p = select_range(exp(sub(load(scores + j * kLanes), m)), zero(), begin - j * kLanes, end - j * kLanes);
    store(scores + j * kLanes, p);
    float* sum = sums + j % kSums * kLanes;
    store(sum, add(load(sum), p));
  }
}

// Which values of a step are added: the keys of `range`, for every query those in its own[] (the others are not touched:
// they may hold anything). v: the step's blocks.
template <typename T>
struct Values {
  const T* const* v;
  const Visible* own;
  Visible range;
};

// acc[query..][d.. + kVectors vectors] += sum over keys; without kRagged every query sees the whole range.
template <typename T, int kQueries, int kVectors, bool kRagged>
UMBEL_INLINE void value_tile(const AttentionTile& t, const AttentionState& s, const Values<T>& values, int query, int d) {
  const Visible range = values.range;
  const Visible* own = values.own;
  Vec sum[kQueries][kVectors];
  float* acc = s.acc + query * t.padded + d;
  const float* p = s.scores + query * kStep;
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) sum[i][j] = load(acc + i * t.padded + j * kLanes);
  }
  for (int key = range.begin; key < range.end;) {
    const int block_end = (key / kBlock + 1) * kBlock < range.end ? (key / kBlock + 1) * kBlock : range.end;
    const T* row = values.v[key / kBlock] + (key % kBlock) * t.padded + d;
    for (; key < block_end; ++key, row += t.padded) {
      Vec vv[kVectors];
      for (int j = 0; j < kVectors; ++j) vv[j] = load(row + j * kLanes);
      for (int i = 0; i < kQueries; ++i) {
        if (kRagged && (key < own[i].begin || key >= own[i].end)) continue;
        const Vec pv = set1(p[i * kStep + key]);
        for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(pv, vv[j], sum[i][j]);
      }
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) store(acc + i * t.padded + j * kLanes, sum[i][j]);
  }
}

template <typename T, int kQueries, bool kRagged>
UMBEL_INLINE void value_queries(const AttentionTile& t, const AttentionState& s, const Values<T>& values, int query) {
  if (values.range.begin >= values.range.end) return;
  int d = 0;
  if constexpr (kQueries == 1) {  // alone: more columns at once, for more independent chains
    for (; d + 2 * kTileVectors * kLanes <= t.padded; d += 2 * kTileVectors * kLanes) {
      value_tile<T, 1, 2 * kTileVectors, kRagged>(t, s, values, query, d);
    }
  }
  for (; d + kTileVectors * kLanes <= t.padded; d += kTileVectors * kLanes) {
    value_tile<T, kQueries, kTileVectors, kRagged>(t, s, values, query, d);
  }
  for (; d + kLanes <= t.padded; d += kLanes) value_tile<T, kQueries, 1, kRagged>(t, s, values, query, d);
}

// Where the blocks of a step lie. Blocks that nobody in the tile sees need not exist: a neighbour stands in, unused.
template <typename T>
struct StepBlocks {
  const T* k[kStepBlocks];
  const T* v[kStepBlocks];
};

// What a query sees of the step that starts at key `step`; begin >= end where that is nothing.
UMBEL_INLINE Visible visible(const AttentionTile& t, int query, int step) {
  const int begin = t.key_begin[query] - step;
  const int end = t.key_end[query] - step;
  return {begin > 0 ? begin : 0, end < kStep ? end : kStep};
}

// One step for kQueries queries: the keys that all of them see without questions, those before and after with.
template <typename T, int kQueries>
UMBEL_INLINE void attention_step(const AttentionTile& t, const AttentionState& s, const StepBlocks<T>& blocks, int query,
                                 int step) {
  Visible own[kQueries];
  Visible all = {kStep, 0};
  Visible common = {0, kStep};
  for (int i = 0; i < kQueries; ++i) {
    own[i] = visible(t, query + i, step);
    if (own[i].begin > common.begin) common.begin = own[i].begin;
    if (own[i].end < common.end) common.end = own[i].end;
    if (own[i].begin >= own[i].end) continue;
    if (own[i].begin < all.begin) all.begin = own[i].begin;
    if (own[i].end > all.end) all.end = own[i].end;
  }
  if (all.begin >= all.end) return;
  score_queries<T, kQueries>(t, s, blocks.k, query, all);
  for (int i = 0; i < kQueries; ++i) {
    if (own[i].begin < own[i].end) softmax_step(t, s, query + i, own[i].begin, own[i].end);
  }
  if (kQueries == 1 || common.begin >= common.end) {
    value_queries<T, kQueries, (kQueries > 1)>(t, s, {blocks.v, own, all}, query);
    return;
  }
  value_queries<T, kQueries, true>(t, s, {blocks.v, own, {all.begin, common.begin}}, query);
  value_queries<T, kQueries, false>(t, s, {blocks.v, own, common}, query);
  value_queries<T, kQueries, true>(t, s, {blocks.v, own, {common.end, all.end}}, query);
}

UMBEL_INLINE void attention_begin(const AttentionTile& t, const AttentionState& s) {
  for (int i = 0; i < t.count; ++i) {
    float* q = s.q + i * t.padded;
    float* acc = s.acc + i * t.padded;
    for_vectors(t.head_dim, [&](int64_t d, int n) { store_lanes(q + d, mul(load_lanes(t.q[i] + d, n), set1(t.scale)), n); });
    for (int d = 0; d < t.padded; d += kLanes) store(acc + d, zero());
    for (int j = 0; j < kSums; ++j) store(s.sums + i * 16 + j * kLanes, zero());
    s.m[i] = -__builtin_inff();
  }
}

UMBEL_INLINE void attention_end(const AttentionTile& t, const AttentionState& s) {
  for (int i = 0; i < t.count; ++i) {
    const float* acc = s.acc + i * t.padded;
    Vec sum = load(s.sums + i * 16);
    for (int j = 1; j < kSums; ++j) sum = add(sum, load(s.sums + i * 16 + j * kLanes));
    const Vec inverse = set1(1.0f / reduce_add(sum));
    for_vectors(t.head_dim, [&](int64_t d, int n) { store_lanes(t.out[i] + d, mul(load_lanes(acc + d, n), inverse), n); });
  }
}

template <typename T>
UMBEL_INLINE StepBlocks<T> step_blocks(const AttentionTile& t, int step, int block_first, int block_last) {
  StepBlocks<T> result;
  for (int j = 0; j < kStepBlocks; ++j) {
    int block = step / kBlock + j;
    if (block < block_first) block = block_first;
    if (block > block_last) block = block_last;
    result.k[j] = static_cast<const T*>(t.k) + t.blocks[block] * t.block_stride;
    result.v[j] = static_cast<const T*>(t.v) + t.blocks[block] * t.block_stride;
  }
  return result;
}
// Asks for a step's keys or values while the step before is computed: blocks lie anywhere, so no hardware guesses them.
// In decode (few queries) a step waits for memory: all lines. In prefill the heads of the blocks are enough, the hardware
// follows the stream. (Measured on Zen 5, bf16 keys from memory: +20 % with heads, +60 % with all lines.)
constexpr int64_t kBlockHeadBytes = 512;
constexpr int kDecodeQueries = 8;
template <typename T>
UMBEL_INLINE void prefetch_blocks(const AttentionTile& t, const T* const* block) {
  int64_t bytes = static_cast<int64_t>(t.padded) * kBlock * sizeof(T);
  if (t.count > kDecodeQueries && bytes > kBlockHeadBytes) bytes = kBlockHeadBytes;
  for (int j = 0; j < kStepBlocks; ++j) {
    for (int64_t i = 0; i < bytes; i += 64) prefetch_l2(reinterpret_cast<const char*>(block[j]) + i);
  }
}

template <typename T>
static void attention(const AttentionTile& t) {
  const AttentionState s = cut_scratch(t);
  attention_begin(t, s);
  int first = t.key_begin[0];
  int last = t.key_end[0];
  for (int i = 1; i < t.count; ++i) {
    if (t.key_begin[i] < first) first = t.key_begin[i];
    if (t.key_end[i] > last) last = t.key_end[i];
  }
  const int block_first = first / kBlock;
  const int block_last = (last - 1) / kBlock;
  const int step_first = first / kStep * kStep;
  StepBlocks<T> next = step_blocks<T>(t, step_first, block_first, block_last);
  for (int step = step_first; step < last; step += kStep) {
    const StepBlocks<T> now = next;
    if (step + kStep < last) {
      next = step_blocks<T>(t, step + kStep, block_first, block_last);
      prefetch_blocks<T>(t, next.k);
      prefetch_blocks<T>(t, next.v);
    }
    int query = 0;
    for (; query + kQueryTile <= t.count; query += kQueryTile) {
      attention_step<T, kQueryTile>(t, s, now, query, step);
    }
    switch (t.count - query) {
      case 1: attention_step<T, 1>(t, s, now, query, step); break;
      case 2: attention_step<T, 2>(t, s, now, query, step); break;
      case 3: attention_step<T, 3>(t, s, now, query, step); break;
      case 4: attention_step<T, 4>(t, s, now, query, step); break;
      case 5: attention_step<T, 5>(t, s, now, query, step); break;
      default: break;
    }
  }
  attention_end(t, s);
}

static void kv_write_f32(const KvPosition& position) {
  float* k = static_cast<float*>(position.k_block) + position.offset;
  float* v = static_cast<float*>(position.v_block) + position.offset * position.padded;
  for (int d = 0; d < position.head_dim; ++d) k[d * kBlock] = position.k[d];
  scale_row(position.v, nullptr, v, position.head_dim);
}

static void kv_write_bf16(const KvPosition& position) {
  uint16_t* k = static_cast<uint16_t*>(position.k_block) + position.offset;
  uint16_t* v = static_cast<uint16_t*>(position.v_block) + position.offset * position.padded;
  for_vectors(position.head_dim, [&](int64_t d, int n) {
    uint16_t rounded[kLanes];
    store_bf16(rounded, load_lanes(position.k + d, n));
    for (int j = 0; j < n; ++j) k[(d + j) * kBlock] = rounded[j];
  });
  narrow_bf16_row(position.v, v, position.head_dim);
}

}  // namespace umbel::kernels::UMBEL_TARGET
