// Backward of the segmented low rank of every ISA against kernels/ref in double, and job against crowd.
#include "kernels/api_vjp.h"
#include "kernels/ref/low_rank.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::difference;
using testing::normal;
using testing::wide;

class LowRankVjp : public testing::EveryIsa {};
UMBEL_EVERY_ISA(LowRankVjp);

// A trainable term (f32) with its gradients.
struct Job {
  Job(Random& random, int64_t in, int64_t out, int32_t rank)
      : in(in), out(out), rank(rank), a(normal(random, rank * in)), b(normal(random, rank * out)), u(normal(random, out)),
        v(normal(random, rank)), da(normal(random, rank * in)), db(normal(random, rank * out)), du(normal(random, out)),
        dv(normal(random, rank)) {}
  LowRankSegment segment(int32_t row_begin, int32_t rows, int64_t h_offset, bool scaled) {
    return {row_begin, rows, rank, DType::kF32, a.data(), b.data(), in, out, scaled ? u.data() : nullptr,
            scaled ? v.data() : nullptr, 0.7f, h_offset};
  }
  int64_t in, out;
  int32_t rank;
  std::vector<float> a, b, u, v, da, db, du, dv;
};

// All of the backward as a trainer calls it.
struct Matrices {
  ConstMatrixF x;
  ConstMatrixF dy;
  MatrixF dx;
};
void backward(Context& context, std::span<const LowRankSegment> segments, std::span<const LowRankGradient> gradients,
              const Matrices& matrices) {
  const auto [x, dy, dx] = matrices;
  int64_t floats = 0;
  for (const LowRankSegment& segment : segments) floats += static_cast<int64_t>(segment.row_count) * segment.rank;
  std::vector<float> h(floats), dh(floats, NAN);
  segmented_shrink(context, segments, x, h.data());
  segmented_expand_vjp_h(context, segments, dy, dh.data());
  segmented_shrink_vjp_x(context, segments, dh.data(), dx);
  segmented_low_rank_vjp_parameters(context, segments, gradients, {x, h.data(), dy, dh.data()});
}

TEST_P(LowRankVjp, AgreesWithTheReference) {
  Random random(1);
  for (int round = 0; round < 12; ++round) {
    Bench bench(GetParam(), 1 + round % 2);
    const int64_t in = 1 + random.next_below(200), out = 1 + random.next_below(300);
    std::vector<Job> jobs;
    std::vector<LowRankSegment> segments;
    std::vector<LowRankGradient> gradients;
    int32_t rows = 0;
    int64_t offset = 0;
    for (int s = 0; s < 4; ++s) jobs.emplace_back(random, in, out, s == 3 ? 40 : 1 + random.next_below(17));
    for (int s = 0; s < 4; ++s) {
      const bool scaled = s % 2 == 1;
      const int32_t count = s == 2 ? 0 : 1 + random.next_below(60);
      segments.push_back(jobs[s].segment(rows, count, offset, scaled));
      gradients.push_back({jobs[s].da.data(), jobs[s].db.data(), scaled ? jobs[s].du.data() : nullptr,
                           scaled ? jobs[s].dv.data() : nullptr});
      rows += count;
      offset += count * jobs[s].rank;
    }
    const std::vector<float> x = normal(random, rows * in), dy = normal(random, rows * out);
    std::vector<float> dx = normal(random, rows * in);
    std::vector<double> expected_dx = wide(dx);
    std::vector<std::vector<double>> expected;
    for (int s = 0; s < 4; ++s) {
      const Job& job = jobs[s];
      const std::vector<double> a = wide(job.a), b = wide(job.b), u = wide(job.u), v = wide(job.v);
      std::vector<double> da = wide(job.da), db = wide(job.db), du = wide(job.du), dv = wide(job.dv);
      const bool scaled = segments[s].u != nullptr;
      const ref::LowRank<double> term = {in, out, job.rank, a.data(), b.data(), scaled ? u.data() : nullptr,
                                         scaled ? v.data() : nullptr, segments[s].scale};
      for (int32_t i = segments[s].row_begin; i < segments[s].row_begin + segments[s].row_count; ++i) {
        const std::vector<double> xd(&x[i * in], &x[i * in] + in), dyd(&dy[i * out], &dy[i * out] + out);
        ref::low_rank_vjp(term, xd.data(), dyd.data(), &expected_dx[i * in],
                          ref::LowRankGradient<double>{da.data(), db.data(), scaled ? du.data() : nullptr,
                                                       scaled ? dv.data() : nullptr});
      }
      for (const auto& gradient : {da, db, du, dv}) expected.push_back(gradient);
    }
    backward(bench.context, segments, gradients, {{x.data(), rows, in}, {dy.data(), rows, out}, {dx.data(), rows, in}});
    EXPECT_LT(difference(dx, expected_dx), 5e-6);
    for (int s = 0; s < 4; ++s) {
      EXPECT_LT(difference(jobs[s].da, expected[4 * s]), 5e-6);
      EXPECT_LT(difference(jobs[s].db, expected[4 * s + 1]), 5e-6);
      EXPECT_LT(difference(jobs[s].du, expected[4 * s + 2]), 5e-6);
      EXPECT_LT(difference(jobs[s].dv, expected[4 * s + 3]), 5e-6);
    }
    EXPECT_EQ(bench.scratch.used_bytes(), 0u);
    EXPECT_LE(bench.scratch.peak_bytes(), low_rank_vjp_scratch_bytes(segments, out));
  }
}

TEST_P(LowRankVjp, AJobDoesNotDependOnTheCrowd) {
  Random random(2);
  const int64_t in = 130, out = 600;
  const int32_t counts[] = {70, 33, 120};
  std::vector<Job> fresh;
  for (int32_t rank : {16, 5, 64}) fresh.emplace_back(random, in, out, rank);
  const std::vector<float> x = normal(random, 223 * in), dy = normal(random, 223 * out);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2}) {
    for (const bool alone : {false, true}) {
      Bench bench(GetParam(), threads);
      std::vector<Job> jobs = fresh;
      std::vector<LowRankSegment> segments;
      std::vector<LowRankGradient> gradients;
      int64_t offset = 0;
      int32_t row = 0;
      for (int s = alone ? 1 : 0; s < (alone ? 2 : 3); ++s) {
        segments.push_back(jobs[s].segment(row, counts[s], offset, true));
        gradients.push_back({jobs[s].da.data(), jobs[s].db.data(), jobs[s].du.data(), jobs[s].dv.data()});
        row += counts[s];
        offset += counts[s] * jobs[s].rank;
      }
      const int64_t first = alone ? counts[0] : 0;
      std::vector<float> dx(row * in, 0.0f);
      backward(bench.context, segments, gradients,
               {{&x[first * in], row, in}, {&dy[first * out], row, out}, {dx.data(), row, in}});
      const auto begin = dx.begin() + (alone ? 0 : counts[0] * in);
      std::vector<float> all(begin, begin + counts[1] * in);
      for (const auto* part : {&jobs[1].da, &jobs[1].db, &jobs[1].du, &jobs[1].dv}) {
        all.insert(all.end(), part->begin(), part->end());
      }
      results.push_back(all);
    }
  }
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

}  // namespace
}  // namespace umbel::kernels
