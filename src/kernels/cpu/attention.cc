// Attention over paged KV: which query vectors share a tile, and who computes it.
#include <algorithm>

#include "kernels/api.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

int64_t padded(int32_t head_dim) { return (head_dim + kKvBlockSize - 1) / kKvBlockSize * kKvBlockSize; }

void check_layer(const KvLayer& layer) {
  CHECK(layer.block_size == kKvBlockSize, "KV blocks have kKvBlockSize positions");
  CHECK(layer.dtype == DType::kF32 || layer.dtype == DType::kBF16, "K and V are f32 or bf16");
}

// Query vectors per tile: whole rows of one KV head's group while they fit.
int64_t queries_per_tile(int64_t group) {
  return group >= kAttentionQueriesMax ? kAttentionQueriesMax : kAttentionQueriesMax / group * group;
}

// One call of attention(), as every task sees it.
struct Job {
  const Table& table;
  ConstMatrixF q;
  const KvLayer& layer;
  const AttentionRows& rows;
  const AttentionOptions& options;
  MatrixF out;
};

// Query vectors [first, first + count) of (row, head of the group) pairs of one span and KV head.
void attention_task(const Job& job, const AttentionSpan& span, int32_t kv_head, int64_t first, float* scratch) {
  const int64_t group = job.options.heads / job.layer.kv_heads;
  const int64_t count = std::min(queries_per_tile(group), span.row_count * group - first);
  const float* q[kAttentionQueriesMax];
  float* out[kAttentionQueriesMax];
  int32_t key_begin[kAttentionQueriesMax];
  int32_t key_end[kAttentionQueriesMax];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = span.row_begin + (first + i) / group;
    const int64_t head = kv_head * group + (first + i) % group;
    q[i] = job.q.row(row) + head * job.layer.head_dim;
    out[i] = job.out.row(row) + head * job.layer.head_dim;
    key_begin[i] = job.rows.key_begin[row];
    key_end[i] = job.rows.key_end[row];
  }
  const int64_t head_offset = kv_head * kKvBlockSize * padded(job.layer.head_dim) * size_of(job.layer.dtype);
  const AttentionTile tile = {
      .count = static_cast<int32_t>(count),
      .head_dim = job.layer.head_dim,
      .padded = static_cast<int32_t>(padded(job.layer.head_dim)),
      .scale = job.options.scale,
      .cap = job.options.cap,
      .q = q,
      .out = out,
      .key_begin = key_begin,
      .key_end = key_end,
      .blocks = span.blocks,
      .k = static_cast<const char*>(job.layer.k) + head_offset,
      .v = static_cast<const char*>(job.layer.v) + head_offset,
      .block_stride = kv_block_elements(job.layer.kv_heads, job.layer.head_dim),
      .scratch = scratch,
  };
  (job.layer.dtype == DType::kF32 ? job.table.attention_f32 : job.table.attention_bf16)(tile);
}

}  // namespace

int64_t kv_block_elements(int32_t kv_heads, int32_t head_dim) { return kv_heads * kKvBlockSize * padded(head_dim); }

size_t attention_scratch_bytes(int threads, int64_t spans, int32_t head_dim) {
  const size_t tile = static_cast<size_t>(attention_scratch_floats(padded(head_dim))) * sizeof(float);
  return threads * tile + static_cast<size_t>(spans + 1) * sizeof(int64_t) + 128;
}

void kv_write(Context& context, ConstMatrixF k, ConstMatrixF v, std::span<const int32_t> slots, const KvLayer& layer) {
  check_layer(layer);
  CHECK(k.cols == layer.kv_heads * layer.head_dim && v.cols == k.cols, "kv_write: rows of [kv_heads * head_dim]");
  CHECK(k.rows == v.rows && k.rows == static_cast<int64_t>(slots.size()), "kv_write: one slot per row");
  const int64_t head_elements = kKvBlockSize * padded(layer.head_dim);
  const int64_t bytes = static_cast<int64_t>(size_of(layer.dtype));
  const auto write = layer.dtype == DType::kF32 ? context.table.kv_write_f32 : context.table.kv_write_bf16;
  for_rows(context, k.rows, 4 * k.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (slots[i] < 0) continue;
      const int64_t block = slots[i] / kKvBlockSize;
      for (int32_t head = 0; head < layer.kv_heads; ++head) {
        const int64_t offset = (block * layer.kv_heads + head) * head_elements * bytes;
        write({.k = k.row(i) + head * layer.head_dim,
               .v = v.row(i) + head * layer.head_dim,
               .head_dim = layer.head_dim,
               .padded = static_cast<int32_t>(padded(layer.head_dim)),
               .offset = slots[i] % kKvBlockSize,
               .k_block = static_cast<char*>(layer.k) + offset,
               .v_block = static_cast<char*>(layer.v) + offset});
      }
    }
  });
}

void attention(Context& context, ConstMatrixF q, const KvLayer& layer, const AttentionRows& rows,
               const AttentionOptions& options, MatrixF out) {
  check_layer(layer);
  CHECK(options.heads % layer.kv_heads == 0, "attention: heads are a multiple of KV heads");
  CHECK(q.cols == options.heads * layer.head_dim && out.cols == q.cols, "attention: rows of [heads * head_dim]");
  const int64_t group = options.heads / layer.kv_heads;
  const Job job = {context.table, q, layer, rows, options, out};
  Arena::Mark mark(context.scratch);
  // first_task[s]: the number of tasks of all spans before s; a span has (tiles x KV heads) tasks.
  const std::span<int64_t> first_task = context.scratch.take<int64_t>(rows.spans.size() + 1);
  first_task[0] = 0;
  for (size_t s = 0; s < rows.spans.size(); ++s) {
    const int64_t tiles = (rows.spans[s].row_count * group + queries_per_tile(group) - 1) / queries_per_tile(group);
    first_task[s + 1] = first_task[s] + tiles * layer.kv_heads;
  }
  const int64_t worker_floats = attention_scratch_floats(padded(layer.head_dim));
  const std::span<float> scratch = context.scratch.take<float>(worker_floats * context.pool.threads());
  const int64_t tasks = first_task.back();
  context.pool.parallel_for(tasks, [&](int64_t index, int worker) {
    const int64_t task = tasks - 1 - index;  // later tiles of a prompt see more keys: the long tasks first
    const size_t s = std::upper_bound(first_task.begin(), first_task.end(), task) - first_task.begin() - 1;
    const int64_t within = task - first_task[s];
    attention_task(job, rows.spans[s], static_cast<int32_t>(within % layer.kv_heads),
                   within / layer.kv_heads * queries_per_tile(group), scratch.data() + worker * worker_floats);
  });
}

}  // namespace umbel::kernels
