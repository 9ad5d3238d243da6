// Backward of attention of every ISA against kernels/ref in double: grouped heads, windows, packed documents, crowds.
#include <algorithm>

#include "kernels/api_vjp.h"
#include "kernels/ref/attention.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::difference;
using testing::normal;
using testing::wide;

class AttentionVjp : public testing::EveryIsa {};
UMBEL_EVERY_ISA(AttentionVjp);

struct Shape {
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
};

// A batch of whole sequences, causal, each row seeing at most `window` keys.
struct Batch {
  Batch(Random& random, const Shape& shape, std::vector<int32_t> lengths, int32_t window) : shape(shape) {
    for (int32_t length : lengths) {
      spans.push_back({static_cast<int32_t>(key_end.size()), length, nullptr});
      for (int32_t i = 0; i < length; ++i) {
        key_begin.push_back(std::max(0, i + 1 - window));
        key_end.push_back(i + 1);
      }
    }
    q = normal(random, rows() * width());
    k = normal(random, rows() * kv_width());
    v = normal(random, rows() * kv_width());
    dout = normal(random, rows() * width());
    dq.assign(q.size(), NAN);
    dk.assign(k.size(), NAN);
    dv.assign(v.size(), NAN);
  }
  int64_t rows() const { return static_cast<int64_t>(key_end.size()); }
  int64_t width() const { return static_cast<int64_t>(shape.heads) * shape.head_dim; }
  int64_t kv_width() const { return static_cast<int64_t>(shape.kv_heads) * shape.head_dim; }
  void run(Context& context) {
    attention_vjp(context,
                  {{q.data(), rows(), width()}, {k.data(), rows(), kv_width()}, {v.data(), rows(), kv_width()},
                   shape.kv_heads, shape.head_dim},
                  {spans, key_begin, key_end}, {shape.heads, 0.3f, cap}, {dout.data(), rows(), width()},
                  {{dq.data(), rows(), width()}, {dk.data(), rows(), kv_width()}, {dv.data(), rows(), kv_width()}});
  }

  Shape shape;
  float cap = 0;
  std::vector<AttentionSpan> spans;
  std::vector<int32_t> key_begin, key_end;
  std::vector<float> q, k, v, dout, dq, dk, dv;
};

void expect_reference(const Batch& batch) {
  const std::vector<double> q = wide(batch.q), k = wide(batch.k), v = wide(batch.v), dout = wide(batch.dout);
  std::vector<double> dq(q.size()), dk(k.size(), 0.0), dv(v.size(), 0.0);
  const int64_t dim = batch.shape.head_dim, group = batch.shape.heads / batch.shape.kv_heads;
  for (const AttentionSpan& span : batch.spans) {
    for (int64_t row = span.row_begin; row < span.row_begin + span.row_count; ++row) {
      for (int64_t head = 0; head < batch.shape.heads; ++head) {
        const int64_t at = row * batch.width() + head * dim;
        const int64_t key = (span.row_begin + batch.key_begin[row]) * batch.kv_width() + head / group * dim;
        const ref::Keys<double> keys = {&k[key], &v[key], batch.key_end[row] - batch.key_begin[row], dim, batch.kv_width(), 0.3, batch.cap};
        ref::attention_vjp(&q[at], keys, &dout[at], {&dq[at], &dk[key], &dv[key]});
      }
    }
  }
  EXPECT_LT(difference(batch.dq, dq), 5e-6);
  EXPECT_LT(difference(batch.dk, dk), 5e-6);
  EXPECT_LT(difference(batch.dv, dv), 5e-6);
}

TEST_P(AttentionVjp, AgreesWithTheReference) {
  Random random(1);
  for (const Shape& shape : {Shape{4, 2, 16}, Shape{3, 1, 20}, Shape{2, 2, 64}, Shape{1, 1, 1}, Shape{5, 1, 33}}) {
    for (int32_t window : {1 << 30, 19}) {
      Bench bench(GetParam());
      Batch batch(random, shape, {1, 24, 25, 90, 7}, window);
      batch.run(bench.context);
      expect_reference(batch);
      EXPECT_EQ(bench.scratch.used_bytes(), 0u);
      EXPECT_LE(bench.scratch.peak_bytes(), attention_vjp_scratch_bytes(2, 90, shape.head_dim));
    }
  }
}

// Scores through a soft cap that bites.
TEST_P(AttentionVjp, CappedScores) {
  Random random(4);
  for (const Shape& shape : {Shape{4, 2, 16}, Shape{2, 1, 33}}) {
    Bench bench(GetParam());
    Batch batch(random, shape, {1, 25, 90}, 40);
    batch.cap = 1.5f;
    batch.run(bench.context);
    expect_reference(batch);
  }
}

// Two documents packed into one span: rows of the second begin at its first key.
TEST_P(AttentionVjp, PackedDocuments) {
  Random random(2);
  Bench bench(GetParam());
  Batch batch(random, {4, 2, 32}, {70}, 1 << 30);
  for (int64_t i = 31; i < 70; ++i) batch.key_begin[i] = 31;
  batch.run(bench.context);
  expect_reference(batch);
}

TEST_P(AttentionVjp, ASequenceDoesNotDependOnTheCrowd) {
  Random random(3);
  const Shape shape = {4, 2, 40};
  Batch crowd(random, shape, {33, 60, 5}, 50);
  Bench two(GetParam(), 2), one(GetParam(), 1);
  crowd.run(two.context);
  const Batch first = crowd;
  crowd.run(one.context);
  EXPECT_EQ(first.dq, crowd.dq);
  EXPECT_EQ(first.dk, crowd.dk);
  EXPECT_EQ(first.dv, crowd.dv);
  Batch alone(random, shape, {60}, 50);
  const auto copy = [](const std::vector<float>& from, int64_t width, std::vector<float>& to) {
    std::copy_n(from.begin() + 33 * width, 60 * width, to.begin());
  };
  copy(crowd.q, crowd.width(), alone.q);
  copy(crowd.k, crowd.kv_width(), alone.k);
  copy(crowd.v, crowd.kv_width(), alone.v);
  copy(crowd.dout, crowd.width(), alone.dout);
  alone.run(one.context);
  EXPECT_TRUE(std::equal(alone.dq.begin(), alone.dq.end(), crowd.dq.begin() + 33 * crowd.width()));
  EXPECT_TRUE(std::equal(alone.dk.begin(), alone.dk.end(), crowd.dk.begin() + 33 * crowd.kv_width()));
  EXPECT_TRUE(std::equal(alone.dv.begin(), alone.dv.end(), crowd.dv.begin() + 33 * crowd.kv_width()));
}

}  // namespace
}  // namespace umbel::kernels
