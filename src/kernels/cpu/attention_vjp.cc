// Backward of attention over whole sequences. One task owns one KV head of one span, hence its slices of dk and dv; it walks
// the group's heads and tiles of query rows in ascending order:
//   S = scale Q K^T (then capped), P = softmax(S), dP = dO V^T, dS = P o (dP - rowsum(P o dP)),
//   dQ = scale dS K,  dK += scale dS^T Q,  dV += P^T dO
// all matrix products by the expand leaf. The weights are recomputed; nothing of the forward but q, k, v is needed.
#include <algorithm>

#include "kernels/api_vjp.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

constexpr int64_t kTileRows = 24;

int64_t padded_keys(int64_t keys) { return (keys + 15) / 16 * 16; }

// Floats of one worker: K^T and V^T of a span's head, S, dP and their transposes for one tile, and one row of capped scores.
int64_t worker_floats(int64_t keys, int64_t head_dim) { return padded_keys(keys) * (2 * head_dim + 4 * kTileRows + 1); }

struct Job {
  const Table& table;
  const AttentionInputs& inputs;
  const AttentionRows& rows;
  const AttentionOptions& options;
  ConstMatrixF dout;
  const AttentionGradients& gradients;
};

// A worker's buffers, cut for one span. Score matrices are [kTileRows][stride], transposes [stride][kTileRows].
struct Buffers {
  Buffers(float* scratch, int64_t keys, int64_t head_dim) : stride(padded_keys(keys)) {
    k_t = scratch;
    v_t = k_t + head_dim * stride;
    p = v_t + head_dim * stride;
    ds = p + kTileRows * stride;
    p_t = ds + kTileRows * stride;
    ds_t = p_t + kTileRows * stride;
    capped = ds_t + kTileRows * stride;
  }
  int64_t stride;
  float *k_t, *v_t, *p, *ds, *p_t, *ds_t, *capped;
};

// One head's rows [row, row + count) of a span, and the keys [key, key + keys) of the span that any of them sees; key_row is
// the row of the first of them.
struct Tile {
  int64_t head;
  int64_t row;
  int64_t count;
  int64_t key;
  int64_t keys;
  int64_t key_row;
};

Tile make_tile(const Job& job, const AttentionSpan& span, int64_t head, int64_t row) {
  const int64_t count = std::min<int64_t>(kTileRows, span.row_begin + span.row_count - row);
  int32_t first = job.rows.key_begin[row];
  int32_t last = job.rows.key_end[row];
  for (int64_t i = row + 1; i < row + count; ++i) {
    first = std::min(first, job.rows.key_begin[i]);
    last = std::max(last, job.rows.key_end[i]);
  }
  return {head, row, count, first, last - first, span.row_begin + first};
}

// y = scale h b; zero first, so y may hold anything.
void product(const Table& table, ExpandTile tile) {
  for (int64_t i = 0; i < tile.rows; ++i) std::fill_n(tile.y + i * tile.y_stride, tile.cols, 0.0f);
  table.expand_f32(tile);
}

// buffers.p = softmax weights, buffers.ds = gradient of the scores; zero where a row does not look.
void weights_and_scores(const Job& job, const Buffers& buffers, const Tile& tile) {
  const int64_t dim = job.inputs.head_dim;
  const int64_t head = tile.head;
  ExpandTile scores = {.h = job.inputs.q.row(tile.row) + head * dim, .h_stride = job.inputs.q.stride, .rows = tile.count,
                       .rank = dim, .b = buffers.k_t + tile.key, .b_stride = buffers.stride, .cols = tile.keys,
                       .u = nullptr, .scale = job.options.scale, .y = buffers.p, .y_stride = buffers.stride};
  product(job.table, scores);
  ExpandTile gradients = scores;
  gradients.h = job.dout.row(tile.row) + head * dim;
  gradients.h_stride = job.dout.stride;
  gradients.b = buffers.v_t + tile.key;
  gradients.scale = 1.0f;
  gradients.y = buffers.ds;
  product(job.table, gradients);
  for (int64_t i = 0; i < tile.count; ++i) {
    const int64_t begin = job.rows.key_begin[tile.row + i] - tile.key;
    const int64_t end = job.rows.key_end[tile.row + i] - tile.key;
    float* p = buffers.p + i * buffers.stride;
    float* ds = buffers.ds + i * buffers.stride;
    if (job.options.cap != 0.0f) {
      job.table.soft_cap(job.options.cap, p + begin, end - begin);
      std::copy(p + begin, p + end, buffers.capped + begin);
    }
    const float largest = job.table.max(p + begin, end - begin);
    const float sum = job.table.sum_exp(p + begin, largest, end - begin);
    job.table.vjp.weighted_exp(p + begin, largest, 1.0f / sum, p + begin, end - begin);
    job.table.vjp.softmax_scores(p + begin, ds + begin, ds + begin, end - begin);
    if (job.options.cap != 0.0f) job.table.vjp.soft_cap(job.options.cap, buffers.capped + begin, ds + begin, end - begin);
    for (float* row : {p, ds}) {
      std::fill(row, row + begin, 0.0f);
      std::fill(row + end, row + tile.keys, 0.0f);
    }
  }
}

void tile_vjp(const Job& job, const Buffers& buffers, const Tile& tile) {
  const int64_t dim = job.inputs.head_dim;
  const int64_t head = tile.head;
  const int64_t kv_head = head / (job.options.heads / job.inputs.kv_heads);
  const int64_t key_row = tile.key_row;
  weights_and_scores(job, buffers, tile);
  job.table.vjp.transpose({buffers.p, buffers.stride, tile.count, tile.keys}, buffers.p_t, kTileRows);
  job.table.vjp.transpose({buffers.ds, buffers.stride, tile.count, tile.keys}, buffers.ds_t, kTileRows);
  product(job.table, {.h = buffers.ds, .h_stride = buffers.stride, .rows = tile.count, .rank = tile.keys,
                      .b = job.inputs.k.row(key_row) + kv_head * dim, .b_stride = job.inputs.k.stride, .cols = dim,
                      .u = nullptr, .scale = job.options.scale, .y = job.gradients.q.row(tile.row) + head * dim,
                      .y_stride = job.gradients.q.stride});
  job.table.expand_f32({.h = buffers.ds_t, .h_stride = kTileRows, .rows = tile.keys, .rank = tile.count,
                        .b = job.inputs.q.row(tile.row) + head * dim, .b_stride = job.inputs.q.stride, .cols = dim,
                        .u = nullptr, .scale = job.options.scale, .y = job.gradients.k.row(key_row) + kv_head * dim,
                        .y_stride = job.gradients.k.stride});
  job.table.expand_f32({.h = buffers.p_t, .h_stride = kTileRows, .rows = tile.keys, .rank = tile.count,
                        .b = job.dout.row(tile.row) + head * dim, .b_stride = job.dout.stride, .cols = dim, .u = nullptr,
                        .scale = 1.0f, .y = job.gradients.v.row(key_row) + kv_head * dim,
                        .y_stride = job.gradients.v.stride});
}

void span_task(const Job& job, const AttentionSpan& span, int64_t kv_head, float* scratch) {
  const int64_t dim = job.inputs.head_dim;
  const int64_t group = job.options.heads / job.inputs.kv_heads;
  const Buffers buffers(scratch, span.row_count, dim);
  for (int64_t i = span.row_begin; i < span.row_begin + span.row_count; ++i) {
    std::fill_n(job.gradients.k.row(i) + kv_head * dim, dim, 0.0f);
    std::fill_n(job.gradients.v.row(i) + kv_head * dim, dim, 0.0f);
  }
  const auto transpose = [&](ConstMatrixF rows, float* target) {
    job.table.vjp.transpose({rows.row(span.row_begin) + kv_head * dim, rows.stride, span.row_count, dim}, target,
                            buffers.stride);
  };
  transpose(job.inputs.k, buffers.k_t);
  transpose(job.inputs.v, buffers.v_t);
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t i = 0; i < span.row_count; i += kTileRows) {
      tile_vjp(job, buffers, make_tile(job, span, head, span.row_begin + i));
    }
  }
}

}  // namespace

size_t attention_vjp_scratch_bytes(int threads, int64_t rows_max, int32_t head_dim) {
  return static_cast<size_t>(threads * worker_floats(rows_max, head_dim)) * sizeof(float) + 64;
}

void attention_vjp(Context& context, const AttentionInputs& inputs, const AttentionRows& rows,
                   const AttentionOptions& options, ConstMatrixF dout, const AttentionGradients& gradients) {
  CHECK(inputs.q.cols == options.heads * inputs.head_dim && dout.cols == inputs.q.cols &&
            gradients.q.cols == inputs.q.cols,
        "attention_vjp: q rows of [heads * head_dim]");
  CHECK(inputs.k.cols == inputs.kv_heads * inputs.head_dim && inputs.v.cols == inputs.k.cols &&
            gradients.k.cols == inputs.k.cols && gradients.v.cols == inputs.k.cols,
        "attention_vjp: k and v rows of [kv_heads * head_dim]");
  CHECK(options.heads % inputs.kv_heads == 0, "attention_vjp: heads are a multiple of KV heads");
  int64_t rows_max = 0;
  for (const AttentionSpan& span : rows.spans) {
    rows_max = std::max<int64_t>(rows_max, span.row_count);
    for (int64_t i = span.row_begin; i < span.row_begin + span.row_count; ++i) {
      CHECK(rows.key_begin[i] >= 0 && rows.key_begin[i] < rows.key_end[i] && rows.key_end[i] <= span.row_count,
            "attention_vjp: keys within the span");
    }
  }
  const Job job = {context.table, inputs, rows, options, dout, gradients};
  Arena::Mark mark(context.scratch);
  const int64_t floats = worker_floats(rows_max, inputs.head_dim);
  const std::span<float> scratch = context.scratch.take<float>(floats * context.pool.threads());
  const int64_t tasks = static_cast<int64_t>(rows.spans.size()) * inputs.kv_heads;
  context.pool.parallel_for(tasks, [&](int64_t task, int worker) {
    span_task(job, rows.spans[task / inputs.kv_heads], task % inputs.kv_heads, scratch.data() + worker * floats);
  });
}

}  // namespace umbel::kernels
