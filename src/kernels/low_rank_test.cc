// Segmented shrink and expand of every ISA against kernels/ref in double: odd ranks and extents, strides, mixed batches.
#include "kernels/ref/low_rank.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::difference;
using testing::normal;
using testing::same_bits;
using testing::wide;

class LowRank : public testing::EveryIsa {};
UMBEL_EVERY_ISA(LowRank);

// One adapter's term with storage; a and b_t have strides larger than their extents.
struct Term {
  Term(Random& random, int64_t in, int64_t out, int32_t rank, DType dtype)
      : in(in), out(out), rank(rank), dtype(dtype), u(normal(random, out)), v(normal(random, rank)) {
    a = make(random, in + 5);
    b = make(random, out + 3);
  }
  std::vector<char> make(Random& random, int64_t stride) const {
    const std::vector<float> values = normal(random, rank * stride, 0.3f);
    std::vector<char> bytes(values.size() * size_of(dtype));
    narrow_from_f32(values.data(), dtype, bytes.data(), values.size());
    return bytes;
  }
  LowRankSegment segment(int32_t row_begin, int32_t row_count, int64_t h_offset, bool scaled) const {
    return {row_begin, row_count, rank, dtype, a.data(), b.data(), in + 5, out + 3,
            scaled ? u.data() : nullptr, scaled ? v.data() : nullptr, 0.7f, h_offset};
  }
  // Dense double copies for the reference.
  std::vector<double> dense(const std::vector<char>& bytes, int64_t cols, int64_t stride) const {
    std::vector<float> values(rank * stride);
    widen_to_f32(dtype, bytes.data(), values.data(), values.size());
    std::vector<double> result;
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t c = 0; c < cols; ++c) result.push_back(values[r * stride + c]);
    }
    return result;
  }
  int64_t in, out;
  int32_t rank;
  DType dtype;
  std::vector<float> u, v;
  std::vector<char> a, b;
};

// y += term(x) for the segment's rows, in double.
void reference(const Term& term, const LowRankSegment& segment, ConstMatrixF x, std::vector<double>& y) {
  const std::vector<double> a = term.dense(term.a, term.in, term.in + 5), b = term.dense(term.b, term.out, term.out + 3);
  const std::vector<double> u = wide(term.u), v = wide(term.v);
  const ref::LowRank<double> truth = {term.in, term.out, term.rank, a.data(), b.data(),
                                      segment.u ? u.data() : nullptr, segment.v ? v.data() : nullptr, segment.scale};
  for (int64_t i = segment.row_begin; i < segment.row_begin + segment.row_count; ++i) {
    const std::vector<double> row(x.row(i), x.row(i) + term.in);
    std::vector<double> h(term.rank);
    ref::low_rank_forward(truth, row.data(), h.data(), &y[i * term.out]);
  }
}

TEST_P(LowRank, MixedSegmentsAgreeWithTheReference) {
  Random random(1);
  for (int round = 0; round < 30; ++round) {
    Bench bench(GetParam(), 1 + round % 2);
    const int64_t in = 1 + random.next_below(300), out = 1 + random.next_below(700);
    std::vector<Term> terms;
    std::vector<LowRankSegment> segments;
    int32_t rows = 0;
    int64_t h_size = 0;
    for (int s = 0; s < 5; ++s) {
      const int32_t rank = s == 3 ? 64 + random.next_below(100) : 1 + random.next_below(20);
      terms.emplace_back(random, in, out, rank, random.next_below(2) ? DType::kF32 : DType::kBF16);
    }
    for (const Term& term : terms) {
      const int32_t count = random.next_below(3) == 0 ? 1 + random.next_below(120) : random.next_below(8);
      segments.push_back(term.segment(rows, count, h_size, random.next_below(2)));
      rows += count;
      h_size += count * term.rank;
    }
    segments.push_back(terms[0].segment(0, rows, h_size, true));  // a second term over all rows
    terms.push_back(terms[0]);
    h_size += rows * terms[0].rank;
    const std::vector<float> x = normal(random, rows * (in + 1) + 1);
    std::vector<float> y = normal(random, rows * out), h(h_size, NAN);
    const ConstMatrixF x_view(x.data() + 1, rows, in, in + 1);
    std::vector<double> expected = wide(y);
    for (size_t s = 0; s < segments.size(); ++s) reference(terms[s], segments[s], x_view, expected);
    segmented_shrink(bench.context, segments, x_view, h.data());
    segmented_expand(bench.context, segments, h.data(), {y.data(), rows, out});
    EXPECT_LT(difference(y, expected), 3e-6) << "in " << in << " out " << out << " rows " << rows;
    EXPECT_EQ(bench.scratch.used_bytes(), 0u);
    EXPECT_LE(bench.scratch.peak_bytes(), low_rank_scratch_bytes(segments.size()));
  }
}

TEST_P(LowRank, LargeRanks) {
  Random random(2);
  Bench bench(GetParam());
  const Term term(random, 97, 130, 4096, DType::kBF16);
  for (int32_t rows : {1, 7}) {
    const std::vector<float> x = normal(random, rows * 97);
    std::vector<float> y(rows * 130, 0.0f), h(rows * 4096);
    std::vector<double> expected(rows * 130, 0.0);
    const LowRankSegment segment = term.segment(0, rows, 0, true);
    reference(term, segment, {x.data(), rows, 97}, expected);
    segmented_shrink(bench.context, {&segment, 1}, {x.data(), rows, 97}, h.data());
    segmented_expand(bench.context, {&segment, 1}, h.data(), {y.data(), rows, 130});
    EXPECT_LT(difference(y, expected), 1e-5);
  }
}

TEST_P(LowRank, NothingToDo) {
  Bench bench(GetParam());
  std::vector<float> x(8, 1.0f), y(8, 1.0f), h(8);
  segmented_shrink(bench.context, {}, {x.data(), 1, 8}, h.data());
  segmented_expand(bench.context, {}, h.data(), {y.data(), 1, 8});
  EXPECT_EQ(y, std::vector<float>(8, 1.0f));
}

// A row alone, in a crowd, in another place of the crowd, and with another number of threads: the same bits.
TEST_P(LowRank, ARowDoesNotDependOnItsBatch) {
  Random random(3);
  const int64_t in = 517, out = 1100;
  const int32_t rows = 103;
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    for (int32_t rank : {3, 16, 130}) {
      const Term term(random, in, out, rank, dtype);
      const std::vector<float> x = normal(random, rows * in), y_before = normal(random, rows * out);
      std::vector<std::vector<float>> crowds;
      for (int threads : {1, 2}) {
        Bench bench(GetParam(), threads);
        std::vector<float> y = y_before, h(rows * rank);
        const LowRankSegment all = term.segment(0, rows, 0, true);
        segmented_shrink(bench.context, {&all, 1}, {x.data(), rows, in}, h.data());
        segmented_expand(bench.context, {&all, 1}, h.data(), {y.data(), rows, out});
        for (int32_t i = 0; i < rows; ++i) {
          std::vector<float> alone(&y_before[i * out], &y_before[i * out] + out);
          const LowRankSegment one = term.segment(0, 1, 0, true);
          segmented_shrink(bench.context, {&one, 1}, {&x[i * in], 1, in}, h.data());
          segmented_expand(bench.context, {&one, 1}, h.data(), {alone.data(), 1, out});
          ASSERT_TRUE(same_bits(alone.data(), &y[i * out], out)) << "row " << i << " rank " << rank;
        }
        crowds.push_back(y);
      }
      EXPECT_EQ(crowds[0], crowds[1]);
    }
  }
}

}  // namespace
}  // namespace umbel::kernels
