// Paged attention of every ISA against kernels/ref in double: ragged spans, grouped heads, windows, garbage beyond the keys.
#include <algorithm>

#include "kernels/ref/attention.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::normal;
using testing::same_bits;

class Attention : public testing::EveryIsa {};
UMBEL_EVERY_ISA(Attention);

struct Shape {
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  DType dtype;
};

// Sequences with scattered blocks, filled through kv_write; every slot that no key owns holds NaN.
struct World {
  World(Random& random, const Shape& shape, std::vector<int32_t> lengths) : shape(shape), lengths(lengths) {
    int32_t count = 1;
    for (int32_t length : lengths) count += (length + 15) / 16;
    const int64_t elements = count * kv_block_elements(shape.kv_heads, shape.head_dim);
    k_cache.assign(elements * size_of(shape.dtype), static_cast<char>(0xff));  // NaN in f32 and bf16
    v_cache = k_cache;
    layer = {k_cache.data(), v_cache.data(), shape.dtype, kKvBlockSize, shape.kv_heads, shape.head_dim};
    std::vector<int32_t> free;
    for (int32_t block = 0; block < count; ++block) free.push_back(block);
    for (size_t i = free.size() - 1; i > 0; --i) std::swap(free[i], free[random.next_below(i + 1)]);
    for (int32_t length : lengths) {
      blocks.emplace_back();
      for (int32_t i = 0; i < (length + 15) / 16; ++i) {
        blocks.back().push_back(free.back());
        free.pop_back();
      }
      k.push_back(normal(random, length * width()));
      v.push_back(normal(random, length * width()));
    }
  }
  int64_t width() const { return static_cast<int64_t>(shape.kv_heads) * shape.head_dim; }

  void write(Context& context) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      std::vector<int32_t> slots(lengths[s]);
      for (int32_t i = 0; i < lengths[s]; ++i) slots[i] = blocks[s][i / 16] * 16 + i % 16;
      kv_write(context, {k[s].data(), lengths[s], width()}, {v[s].data(), lengths[s], width()}, slots, layer);
    }
  }
  // What the cache holds of a value.
  double stored(float value) const { return shape.dtype == DType::kF32 ? value : to_f32(to_bf16(value)); }

  // The truth for one query vector: its sequence, head and range of keys.
  struct Query {
    int32_t sequence;
    int32_t head;
    int32_t begin;
    int32_t end;
  };
  std::vector<double> expected(const Query& query, const float* q, float scale, float cap = 0) const {
    const auto [s, head, begin, end] = query;
    const int32_t kv_head = head / (shape.heads / shape.kv_heads);
    std::vector<double> kd, vd, out(shape.head_dim);
    for (int32_t j = begin; j < end; ++j) {
      for (int32_t d = 0; d < shape.head_dim; ++d) {
        kd.push_back(stored(k[s][j * width() + kv_head * shape.head_dim + d]));
        vd.push_back(stored(v[s][j * width() + kv_head * shape.head_dim + d]));
      }
    }
    const std::vector<double> qd(q, q + shape.head_dim);
    ref::attention_forward(qd.data(), ref::Keys<double>{kd.data(), vd.data(), end - begin, shape.head_dim, shape.head_dim, scale, cap},
                           out.data());
    return out;
  }

  Shape shape;
  std::vector<int32_t> lengths;
  std::vector<char> k_cache, v_cache;
  KvLayer layer;
  std::vector<std::vector<int32_t>> blocks;
  std::vector<std::vector<float>> k, v;
};

// The last rows[s] positions of every sequence as one batch, each seeing at most `window` keys.
struct Batch {
  Batch(Random& random, const World& world, const std::vector<int32_t>& rows, int32_t window) {
    int32_t row = 0;
    for (size_t s = 0; s < rows.size(); ++s) {
      spans.push_back({row, rows[s], world.blocks[s].data()});
      for (int32_t i = 0; i < rows[s]; ++i) {
        const int32_t position = world.lengths[s] - rows[s] + i;
        key_begin.push_back(std::max(0, position + 1 - window));
        key_end.push_back(position + 1);
      }
      row += rows[s];
    }
    width = static_cast<int64_t>(world.shape.heads) * world.shape.head_dim;
    q = normal(random, row * (width + 1) + 1, 2.0f);
    out.assign(row * width, NAN);
  }
  int64_t count() const { return static_cast<int64_t>(key_end.size()); }
  ConstMatrixF queries() const { return {q.data() + 1, count(), width, width + 1}; }
  MatrixF outputs() { return {out.data(), count(), width}; }
  AttentionRows rows() const { return {spans, key_begin, key_end}; }

  std::vector<AttentionSpan> spans;
  std::vector<int32_t> key_begin, key_end;
  std::vector<float> q, out;
  int64_t width;
};

constexpr int32_t kNoWindow = 1 << 30;

void expect_reference(const World& world, Batch& batch, float scale, float cap = 0) {
  for (size_t s = 0; s < batch.spans.size(); ++s) {
    for (int32_t i = batch.spans[s].row_begin; i < batch.spans[s].row_begin + batch.spans[s].row_count; ++i) {
      for (int32_t head = 0; head < world.shape.heads; ++head) {
        const float* q = batch.queries().row(i) + head * world.shape.head_dim;
        const auto expected = world.expected({static_cast<int32_t>(s), head, batch.key_begin[i], batch.key_end[i]}, q, scale, cap);
        const float* out = batch.outputs().row(i) + head * world.shape.head_dim;
        for (int32_t d = 0; d < world.shape.head_dim; ++d) {  // values are standard normal: errors in absolute terms
          ASSERT_NEAR(out[d], expected[d], 1e-5) << "row " << i << " head " << head << " d " << d;
        }
      }
    }
  }
}

TEST_P(Attention, CappedScoresAgreeWithTheReference) {
  Random random(9);
  for (const Shape& shape : {Shape{4, 2, 16, DType::kF32}, Shape{3, 1, 33, DType::kBF16}}) {
    Bench bench(GetParam());
    World world(random, shape, {1, 70, 200});
    world.write(bench.context);
    Batch batch(random, world, {1, 9, 64}, 50);
    attention(bench.context, batch.queries(), world.layer, batch.rows(), {shape.heads, 0.7f, 2.0f}, batch.outputs());
    expect_reference(world, batch, 0.7f, 2.0f);
  }
}

TEST_P(Attention, RaggedBatchesAgreeWithTheReference) {
  Random random(1);
  const Shape shapes[] = {{4, 4, 16, DType::kF32},  {8, 2, 64, DType::kBF16}, {6, 2, 20, DType::kF32},
                          {7, 1, 80, DType::kBF16}, {3, 3, 1, DType::kF32},   {32, 1, 33, DType::kF32},
                          {2, 1, 128, DType::kF32}, {4, 2, 256, DType::kBF16}, {14, 2, 96, DType::kF32}};
  for (const Shape& shape : shapes) {
    for (int32_t window : {kNoWindow, 37}) {
      Bench bench(GetParam());
      World world(random, shape, {1, 16, 17, 150, 64, 65, 33});
      world.write(bench.context);
      Batch batch(random, world, {1, 16, 1, 31, 1, 2, 33}, window);
      const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
      attention(bench.context, batch.queries(), world.layer, batch.rows(), {shape.heads, scale}, batch.outputs());
      expect_reference(world, batch, scale);
      EXPECT_EQ(bench.scratch.used_bytes(), 0u);
      EXPECT_LE(bench.scratch.peak_bytes(), attention_scratch_bytes(2, 7, shape.head_dim));
    }
  }
}

TEST_P(Attention, SeededShapes) {
  Random random(2);
  for (int round = 0; round < 40; ++round) {
    Bench bench(GetParam(), 1 + round % 2);
    const int32_t kv_heads = 1 + random.next_below(4);
    const Shape shape = {kv_heads * static_cast<int32_t>(1 + random.next_below(9)), kv_heads,
                         static_cast<int32_t>(1 + random.next_below(100)), random.next_below(2) ? DType::kF32 : DType::kBF16};
    std::vector<int32_t> lengths, rows;
    for (int s = 0; s < 3; ++s) {
      lengths.push_back(1 + random.next_below(200));
      rows.push_back(random.next_below(2) ? 1 : 1 + random.next_below(lengths.back()));
    }
    World world(random, shape, lengths);
    world.write(bench.context);
    Batch batch(random, world, rows, kNoWindow);
    for (int64_t i = 0; i < batch.count(); ++i) batch.key_begin[i] = random.next_below(batch.key_end[i]);
    attention(bench.context, batch.queries(), world.layer, batch.rows(), {shape.heads, 0.2f}, batch.outputs());
    expect_reference(world, batch, 0.2f);
  }
}

// Row by row, in one prompt, in chunks, with one thread or two: the same bits.
TEST_P(Attention, ARowDoesNotDependOnItsBatch) {
  Random random(3);
  for (const Shape& shape : {Shape{8, 2, 64, DType::kBF16}, Shape{5, 1, 40, DType::kF32}, Shape{3, 3, 128, DType::kF32}}) {
    World world(random, shape, {201, 90, 5});
    Bench two(GetParam(), 2), one(GetParam(), 1);
    world.write(two.context);
    Batch batch(random, world, {201, 1, 5}, 150);
    attention(two.context, batch.queries(), world.layer, batch.rows(), {shape.heads, 0.3f}, batch.outputs());
    const std::vector<float> crowd = batch.out;
    attention(one.context, batch.queries(), world.layer, batch.rows(), {shape.heads, 0.3f}, batch.outputs());
    EXPECT_EQ(crowd, batch.out);
    for (int32_t chunk : {1, 7, 64}) {
      std::fill(batch.out.begin(), batch.out.end(), NAN);
      for (const AttentionSpan& span : batch.spans) {
        for (int32_t i = 0; i < span.row_count; i += chunk) {
          const AttentionSpan part = {span.row_begin + i, std::min(chunk, span.row_count - i), span.blocks};
          attention(two.context, batch.queries(), world.layer, {{&part, 1}, batch.key_begin, batch.key_end},
                    {shape.heads, 0.3f}, batch.outputs());
        }
      }
      EXPECT_EQ(crowd, batch.out) << "chunk " << chunk;
    }
  }
}

// Keys that a row must not see hold NaN while its neighbours in the tile see them: nothing leaks to the row.
TEST_P(Attention, LaterKeysOfTheSameSequenceDoNotLeak) {
  Random random(4);
  const Shape shape = {4, 2, 48, DType::kF32};
  Bench bench(GetParam());
  World world(random, shape, {100});
  Batch batch(random, world, {100}, kNoWindow);
  world.write(bench.context);
  attention(bench.context, batch.queries(), world.layer, batch.rows(), {4, 0.3f}, batch.outputs());
  const std::vector<float> clean = batch.out;
  for (int32_t poisoned : {1, 50, 70, 99}) {
    World other = world;
    other.layer.k = other.k_cache.data();
    other.layer.v = other.v_cache.data();
    for (int64_t i = poisoned * other.width(); i < 100 * other.width(); ++i) other.k[0][i] = other.v[0][i] = NAN;
    other.write(bench.context);
    attention(bench.context, batch.queries(), other.layer, batch.rows(), {4, 0.3f}, batch.outputs());
    EXPECT_TRUE(same_bits(clean.data(), batch.out.data(), poisoned * batch.width)) << poisoned;
    EXPECT_TRUE(std::isnan(batch.out[poisoned * batch.width]));
  }
}

TEST_P(Attention, ThousandsOfKeys) {
  Random random(7);
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    Bench bench(GetParam());
    World world(random, {4, 2, 32, dtype}, {5003, 4096});
    world.write(bench.context);
    Batch batch(random, world, {3, 1}, kNoWindow);
    attention(bench.context, batch.queries(), world.layer, batch.rows(), {4, 0.17f}, batch.outputs());
    expect_reference(world, batch, 0.17f);
  }
}

TEST_P(Attention, LargeScoresStayFinite) {
  Random random(5);
  Bench bench(GetParam());
  World world(random, {1, 1, 8, DType::kF32}, {130});
  for (float& value : world.k[0]) value *= 1000.0f;
  world.write(bench.context);
  Batch batch(random, world, {130}, kNoWindow);
  attention(bench.context, batch.queries(), world.layer, batch.rows(), {1, 1.0f}, batch.outputs());
  for (float value : batch.out) ASSERT_TRUE(std::isfinite(value));
}

TEST_P(Attention, NegativeSlotsAreSkipped) {
  Random random(6);
  Bench bench(GetParam());
  World world(random, {1, 1, 16, DType::kBF16}, {16});
  const std::vector<char> before = world.k_cache;
  const std::vector<int32_t> slots(16, -1);
  kv_write(bench.context, {world.k[0].data(), 16, 16}, {world.v[0].data(), 16, 16}, slots, world.layer);
  EXPECT_EQ(world.k_cache, before);
}

}  // namespace
}  // namespace umbel::kernels
