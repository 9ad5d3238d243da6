// One attention tile: up to kAttentionQueriesMax query vectors against the keys of one KV head of one sequence.
//
// Online softmax over steps of kStep keys, aligned to multiples of kStep in the sequence, ascending:
//   s_j = (scale q) . k_j          one fma chain over ascending d, per key
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

template <typename T, int kQueries>
UMBEL_INLINE void score_queries(const AttentionTile& t, const AttentionState& s, const T* const* k, int query) {
  for (int vector = 0; vector < kStepVectors; vector += kTileVectors) {
    score_tile<T, kQueries, kTileVectors>(t, s, k, query, vector);
  }
}

// Scores of one query become weights; m, l and acc move to the new maximum. Visible keys of the step: [begin, end).
UMBEL_INLINE void softmax_step(const AttentionTile& t, const AttentionState& s, int query, int begin, int end) {
  float* scores = s.scores + query * kStep;
  float* sums = s.sums + query * 16;
  const Vec lowest = set1(-__builtin_inff());
  Vec v[kStepVectors];
  Vec largest = lowest;
  for (int j = 0; j < kStepVectors; ++j) {
    v[j] = load(scores + j * kLanes);
    if (begin > 0 || end < kStep) v[j] = select_range(v[j], lowest, begin - j * kLanes, end - j * kLanes);
    largest = max(v[j], largest);
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
  for (int j = 0; j < kStepVectors; ++j) {
    Vec p = exp(sub(v[j], m));
    if (begin > 0 || end < kStep) p = select_range(p, zero(), begin - j * kLanes, end - j * kLanes);
    store(scores + j * kLanes, p);
    float* sum = sums + j % kSums * kLanes;
    store(sum, add(load(sum), p));
  }
}

// acc[query..][d.. + kVectors vectors] += sum over keys [begin, end) of the step.
template <typename T, int kQueries, int kVectors>
UMBEL_INLINE void value_tile(const AttentionTile& t, const AttentionState& s, const T* const* v, int query, int d,
                             int begin, int end) {
  Vec sum[kQueries][kVectors];
  float* acc = s.acc + query * t.padded + d;
  const float* p = s.scores + query * kStep;
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) sum[i][j] = load(acc + i * t.padded + j * kLanes);
  }
  for (int key = begin; key < end;) {
    const int block_end = (key / kBlock + 1) * kBlock < end ? (key / kBlock + 1) * kBlock : end;
    const T* row = v[key / kBlock] + (key % kBlock) * t.padded + d;
    for (; key < block_end; ++key, row += t.padded) {
      Vec vv[kVectors];
      for (int j = 0; j < kVectors; ++j) vv[j] = load(row + j * kLanes);
      for (int i = 0; i < kQueries; ++i) {
        const Vec pv = set1(p[i * kStep + key]);
        for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(pv, vv[j], sum[i][j]);
      }
    }
  }
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) store(acc + i * t.padded + j * kLanes, sum[i][j]);
  }
}

template <typename T, int kQueries>
UMBEL_INLINE void value_queries(const AttentionTile& t, const AttentionState& s, const T* const* v, int query, int begin,
                                int end) {
  if (begin >= end) return;
  int d = 0;
  if constexpr (kQueries == 1) {  // alone: more columns at once, for more independent chains
    for (; d + 2 * kTileVectors * kLanes <= t.padded; d += 2 * kTileVectors * kLanes) {
      value_tile<T, 1, 2 * kTileVectors>(t, s, v, query, d, begin, end);
    }
  }
  for (; d + kTileVectors * kLanes <= t.padded; d += kTileVectors * kLanes) {
    value_tile<T, kQueries, kTileVectors>(t, s, v, query, d, begin, end);
  }
  for (; d + kLanes <= t.padded; d += kLanes) value_tile<T, kQueries, 1>(t, s, v, query, d, begin, end);
}

// Visible keys of a query in the step that starts at key `step`.
struct Visible {
  int begin;
  int end;
};
UMBEL_INLINE Visible visible(const AttentionTile& t, int query, int step) {
  const int begin = t.key_begin[query] - step;
  const int end = t.key_end[query] - step;
  return {begin > 0 ? begin : 0, end < kStep ? end : kStep};
}

// One step for kQueries queries: what all of them see is multiplied together, the ragged ends one by one, in key order.
template <typename T, int kQueries>
UMBEL_INLINE void attention_step(const AttentionTile& t, const AttentionState& s, const T* const* k, const T* const* v,
                                 int query, int step) {
  Visible own[kQueries];
  int begin = 0;
  int end = kStep;
  bool any = false;
  for (int i = 0; i < kQueries; ++i) {
    own[i] = visible(t, query + i, step);
    if (own[i].begin > begin) begin = own[i].begin;
    if (own[i].end < end) end = own[i].end;
    any = any || own[i].begin < own[i].end;
  }
  if (!any) return;
  score_queries<T, kQueries>(t, s, k, query);
  for (int i = 0; i < kQueries; ++i) {
    if (own[i].begin < own[i].end) softmax_step(t, s, query + i, own[i].begin, own[i].end);
  }
  if (begin < end) {
    for (int i = 0; i < kQueries; ++i) value_queries<T, 1>(t, s, v, query + i, own[i].begin, begin);
    value_queries<T, kQueries>(t, s, v, query, begin, end);
    for (int i = 0; i < kQueries; ++i) value_queries<T, 1>(t, s, v, query + i, end, own[i].end);
  } else {
    for (int i = 0; i < kQueries; ++i) value_queries<T, 1>(t, s, v, query + i, own[i].begin, own[i].end);
  }
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
  for (int step = first / kStep * kStep; step < last; step += kStep) {
    const T* k[kStepBlocks];
    const T* v[kStepBlocks];
    for (int j = 0; j < kStepBlocks; ++j) {  // blocks that nobody sees need not exist: read a neighbour, use nothing of it
      int block = step / kBlock + j;
      if (block < block_first) block = block_first;
      if (block > block_last) block = block_last;
      k[j] = static_cast<const T*>(t.k) + t.blocks[block] * t.block_stride;
      v[j] = static_cast<const T*>(t.v) + t.blocks[block] * t.block_stride;
    }
    int query = 0;
    for (; query + kQueryTile <= t.count; query += kQueryTile) attention_step<T, kQueryTile>(t, s, k, v, query, step);
    switch (t.count - query) {
      case 1: attention_step<T, 1>(t, s, k, v, query, step); break;
      case 2: attention_step<T, 2>(t, s, k, v, query, step); break;
      case 3: attention_step<T, 3>(t, s, k, v, query, step); break;
      case 4: attention_step<T, 4>(t, s, k, v, query, step); break;
      case 5: attention_step<T, 5>(t, s, k, v, query, step); break;
      default: break;
    }
  }
  attention_end(t, s);
}

static void kv_write_f32(const float* k, const float* v, int32_t head_dim, int32_t offset, void* k_block, void* v_block) {
  float* k_out = static_cast<float*>(k_block) + offset;
  float* v_out = static_cast<float*>(v_block) + offset * ((head_dim + kBlock - 1) / kBlock * kBlock);
  for (int d = 0; d < head_dim; ++d) k_out[d * kBlock] = k[d];
  scale_row(v, nullptr, v_out, head_dim);
}

static void kv_write_bf16(const float* k, const float* v, int32_t head_dim, int32_t offset, void* k_block, void* v_block) {
  uint16_t* k_out = static_cast<uint16_t*>(k_block) + offset;
  uint16_t* v_out = static_cast<uint16_t*>(v_block) + offset * ((head_dim + kBlock - 1) / kBlock * kBlock);
  for_vectors(head_dim, [&](int64_t d, int n) {
    uint16_t rounded[kLanes];
    store_bf16(rounded, load_lanes(k + d, n));
    for (int j = 0; j < n; ++j) k_out[(d + j) * kBlock] = rounded[j];
  });
  narrow_bf16_row(v, v_out, head_dim);
}

}  // namespace umbel::kernels::UMBEL_TARGET
