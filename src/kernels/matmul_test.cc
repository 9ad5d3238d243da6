#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/api.h"
#include "kernels/ref/matmul.h"

namespace umbel::kernels {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// One thing that this machine can run: an ISA, an arithmetic, a stored type.
struct Way {
  Choice choice;
  DType stored;
  Quantisation quantisation = Quantisation::kNone;
};

std::string way_name(const Way& way) {
  const Arithmetic arithmetic = way.quantisation == Quantisation::kInt8 ? way.choice.int8 : way.choice.arithmetic;
  return std::string(isa_name(way.choice.isa)) + " " + std::string(arithmetic_name(arithmetic)) + " " +
         std::string(dtype_name(way.stored)) + (way.quantisation == Quantisation::kNone ? "" : " " + std::string(quantisation_name(way.quantisation)));
}

std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (Isa isa : available_isas()) {
    for (DType stored : {DType::kF32, DType::kF16}) ways.push_back({{isa, Arithmetic::kF32Fma}, stored});
    for (Quantisation form : {Quantisation::kInt8, Quantisation::kNf4, Quantisation::kNf4Dq}) {
      ways.push_back({{isa, Arithmetic::kF32Fma}, DType::kF32, form});
    }
    if (const Arithmetic int8 = int8_arithmetic(isa); int8 != Arithmetic::kF32Fma) {
      ways.push_back({{isa, Arithmetic::kF32Fma, int8}, DType::kF32, Quantisation::kInt8});
    }
    for (Arithmetic arithmetic : available_arithmetics(isa)) ways.push_back({{isa, arithmetic}, DType::kBF16});
  }
  return ways;
}

// A weight in packed form and as the f32 that it stands for.
struct Weight {
  std::vector<float> wide;
  FrozenMatrix packed;

  Weight(const Way& way, int64_t out, int64_t in) : wide(random_floats(out * in, out * 7919 + in)) {
    const TensorView view{DType::kF32, {out, in}, wide.data()};
    packed = way.quantisation == Quantisation::kNone ? FrozenMatrix::pack(view, way.stored, way.choice)
                                                     : FrozenMatrix::quantise(view, way.quantisation, way.choice).value();
    for (int64_t row = 0; row < out; ++row) packed.read_row(row, wide.data() + row * in);
  }
  ConstMatrixF matrix() const { return {wide.data(), packed.out(), packed.in()}; }
};

struct Bench {
  Choice choice;
  ThreadPool pool;
  Arena scratch;
  int64_t rows_most = 0;

  explicit Bench(const Way& way, int threads = 1) : choice(way.choice), pool(threads), scratch(64 << 20) {}
  Context context() { return {table_for(choice.isa), choice, pool, scratch}; }
  std::vector<float> matmul(const Weight& weight, const std::vector<float>& x, int64_t rows) {
    std::vector<float> y(rows * weight.packed.out(), NAN);
    Context c = context();
    kernels::matmul(c, weight.packed, {x.data(), rows, weight.packed.in()}, {y.data(), rows, weight.packed.out()});
    EXPECT_EQ(scratch.used_bytes(), 0u);
    rows_most = std::max(rows_most, rows);
    EXPECT_LE(scratch.peak_bytes(), matmul_scratch_bytes(rows_most, weight.packed.out(), weight.packed.in(), pool.threads()));
    return y;
  }
  std::vector<float> vjp(const Weight& weight, const std::vector<float>& dy, int64_t rows) {
    std::vector<float> dx(rows * weight.packed.in(), NAN);
    Context c = context();
    kernels::matmul_vjp_x(c, weight.packed, {dy.data(), rows, weight.packed.out()}, {dx.data(), rows, weight.packed.in()});
    rows_most = std::max(rows_most, rows);
    EXPECT_LE(scratch.peak_bytes(), matmul_scratch_bytes(rows_most, weight.packed.out(), weight.packed.in(), pool.threads()));
    return dx;
  }
};

// Largest |a - b| over the largest |b|.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double largest = 1e-30;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::fabs(static_cast<double>(b[i])));
  }
  return difference / largest;
}

// What 16-bit and 8-bit arithmetic make of their rows.
void round_where(Arithmetic arithmetic, std::vector<float>& values, int64_t in) {
  if (arithmetic == Arithmetic::kF32Fma) return;
  if (arithmetic == Arithmetic::kInt8Dot) return ref::round_to_int8_groups({values.data(), static_cast<int64_t>(values.size()) / in, in});
  for (float& value : values) value = to_f32(to_bf16(value));
}

struct Extents {
  int64_t out;
  int64_t in;
};
bool fits(const Way& way, const Extents& extents) {
  return !is_nf4(way.quantisation) || extents.in % kNf4Block == 0;
}
constexpr Extents kExtents[] = {{1, 1}, {3, 2}, {31, 17}, {32, 64}, {33, 65}, {70, 255}, {100, 511}, {257, 300}, {64, 1027}, {45, 192}};

TEST(Matmul, AgreesWithTheReferenceOnEveryIsaForOddShapes) {
  for (const Way& way : all_ways()) {
    for (const Extents& extents : kExtents) {
      if (!fits(way, extents)) continue;
      const Weight weight(way, extents.out, extents.in);
      Bench bench(way);
      for (int64_t rows : {1, 2, 3, 5, 6, 7, 13, 14, 15, 16, 29, 64, 70}) {
        std::vector<float> x = random_floats(rows * extents.in, rows);
        const std::vector<float> y = bench.matmul(weight, x, rows);
        round_where(weight.packed.arithmetic(), x, extents.in);
        std::vector<float> expected(y.size());
        ref::matmul({x.data(), rows, extents.in}, weight.matrix(), {expected.data(), rows, extents.out});
        EXPECT_LT(relative_error(y, expected), 3e-6)
            << way_name(way) << " rows " << rows << " out " << extents.out << " in " << extents.in;
      }
    }
  }
}

TEST(Matmul, RowHasTheSameBitsAloneAndInAnyBatch) {
  for (const Way& way : all_ways()) {
    for (const Extents& extents : {Extents{70, 1027}, Extents{256, 704}}) {
      if (!fits(way, extents)) continue;
      const Weight weight(way, extents.out, extents.in);
      const std::vector<float> x = random_floats(600 * extents.in, 5);
      Bench one(way, 1);
      Bench two(way, 2);
      const std::vector<float> all = one.matmul(weight, x, 600);
      EXPECT_EQ(std::memcmp(all.data(), two.matmul(weight, x, 600).data(), all.size() * sizeof(float)), 0);
      for (int64_t rows : {1, 2, 6, 14, 16, 17, 33, 64}) {
        for (int64_t begin : {int64_t{0}, int64_t{7}, 600 - rows}) {
          const std::vector<float> part(x.begin() + begin * extents.in, x.begin() + (begin + rows) * extents.in);
          const std::vector<float> y = (rows % 2 ? one : two).matmul(weight, part, rows);
          EXPECT_EQ(std::memcmp(y.data(), all.data() + begin * extents.out, y.size() * sizeof(float)), 0)
              << way_name(way) << " rows " << rows << " from " << begin;
        }
      }
    }
  }
}

// So wide that a panel's absmax don't fit into the scratch of one visit.
TEST(Nf4, FewRowsOfWideWeightsHaveTheBitsOfMany) {
  for (const Quantisation form : {Quantisation::kNf4, Quantisation::kNf4Dq}) {
    for (const Isa isa : available_isas()) {
      const Way way{{isa}, DType::kF32, form};
      const Extents extents{40, 16448};
      const Weight weight(way, extents.out, extents.in);
      const std::vector<float> x = random_floats(20 * extents.in, 5);
      Bench bench(way);
      const std::vector<float> all = bench.matmul(weight, x, 20);
      for (const int64_t rows : {1, 2, 3, 6}) {
        const std::vector<float> y = Bench(way).matmul(weight, std::vector<float>(x.begin(), x.begin() + rows * extents.in), rows);
        EXPECT_EQ(std::memcmp(y.data(), all.data(), y.size() * sizeof(float)), 0) << way_name(way) << " rows " << rows;
      }
    }
  }
}

TEST(Int8Dot, WhatIsNotFiniteStaysInItsGroupsRow) {
  if (int8_arithmetic(available_isas().back()) != Arithmetic::kInt8Dot) GTEST_SKIP() << "this machine has no 8-bit products";
  for (const Way& way : all_ways()) {
    if (way.choice.int8 != Arithmetic::kInt8Dot) continue;
    const Extents extents{40, 150};
    const Weight weight(way, extents.out, extents.in);
    Bench bench(way);
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x = random_floats(3 * extents.in, 9);
      const std::vector<float> right = bench.matmul(weight, x, 3);
      x[extents.in + 70] = bad;
      const std::vector<float> y = bench.matmul(weight, x, 3);
      for (int64_t out = 0; out < extents.out; ++out) {
        EXPECT_EQ(y[out], right[out]);
        EXPECT_TRUE(std::isnan(y[extents.out + out]));
        EXPECT_EQ(y[2 * extents.out + out], right[2 * extents.out + out]);
      }
    }
    for (const float tiny : {0.0f, 1e-40f, 1e-32f}) {  // too small for a scale
      const std::vector<float> y = bench.matmul(weight, std::vector<float>(extents.in, tiny), 1);
      for (const float value : y) EXPECT_EQ(value, 0.0f);
    }
  }
}

TEST(Matmul, ZeroRowsAndStridedOperandsAreFine) {
  const Way way{{available_isas().back()}, DType::kBF16};
  const Weight weight(way, 40, 50);
  Bench bench(way);
  Context context = bench.context();
  matmul(context, weight.packed, {nullptr, 0, 50}, {nullptr, 0, 40});
  const std::vector<float> x = random_floats(5 * 61, 3);
  std::vector<float> y(5 * 47, -1.0f);
  matmul(context, weight.packed, {x.data(), 5, 50, 61}, {y.data(), 5, 40, 47});
  std::vector<float> expected(5 * 40);
  ref::matmul({x.data(), 5, 50, 61}, weight.matrix(), {expected.data(), 5, 40});
  for (int64_t row = 0; row < 5; ++row) {
    for (int64_t col = 0; col < 40; ++col) EXPECT_NEAR(y[row * 47 + col], expected[row * 40 + col], 1e-4);
    for (int64_t col = 40; col < 47; ++col) EXPECT_EQ(y[row * 47 + col], -1.0f) << "written outside the row";
  }
}

TEST(MatmulVjp, AgreesWithTheReferenceOnEveryIsaForOddShapes) {
  for (const Way& way : all_ways()) {
    for (const Extents& extents : kExtents) {
      if (!fits(way, extents)) continue;
      const Weight weight(way, extents.out, extents.in);
      Bench bench(way);
      for (int64_t rows : {1, 3, 4, 5, 14, 67}) {
        std::vector<float> dy = random_floats(rows * extents.out, rows);
        const std::vector<float> dx = bench.vjp(weight, dy, rows);
        if (way.quantisation == Quantisation::kNone) round_where(weight.packed.arithmetic(), dy, extents.out);
        std::vector<float> expected(dx.size());
        ref::matmul_vjp_x({dy.data(), rows, extents.out}, weight.matrix(), {expected.data(), rows, extents.in});
        EXPECT_LT(relative_error(dx, expected), 3e-6)
            << way_name(way) << " rows " << rows << " out " << extents.out << " in " << extents.in;
      }
    }
  }
}

TEST(MatmulVjp, RowHasTheSameBitsAloneAndInAnyBatch) {
  for (const Way& way : all_ways()) {
    const Extents extents{2100, is_nf4(way.quantisation) ? 128 : 131};  // several depths
    const Weight weight(way, extents.out, extents.in);
    const std::vector<float> dy = random_floats(150 * extents.out, 5);
    Bench one(way, 1);
    Bench two(way, 2);
    const std::vector<float> all = one.vjp(weight, dy, 150);
    EXPECT_EQ(std::memcmp(all.data(), two.vjp(weight, dy, 150).data(), all.size() * sizeof(float)), 0);
    for (int64_t rows : {1, 2, 5, 64, 65}) {
      const int64_t begin = 150 - rows;
      const std::vector<float> part(dy.begin() + begin * extents.out, dy.end());
      const std::vector<float> dx = two.vjp(weight, part, rows);
      EXPECT_EQ(std::memcmp(dx.data(), all.data() + begin * extents.in, dx.size() * sizeof(float)), 0)
          << way_name(way) << " rows " << rows;
    }
  }
}

// Quantised weights are widened in small squares: both directions of a large matrix run in a fraction of its f32 size.
TEST(MatmulVjp, NeverUnpacksAWholeQuantisedMatrix) {
  const Extents extents{2048, 2048};
  const size_t whole_bytes = extents.out * extents.in * sizeof(float);
  for (const Quantisation form : {Quantisation::kInt8, Quantisation::kNf4, Quantisation::kNf4Dq}) {
    const Way way{{available_isas().back()}, DType::kF32, form};
    const Weight weight(way, extents.out, extents.in);
    EXPECT_LT(weight.packed.bytes(), whole_bytes / (is_nf4(form) ? 7 : 3));
    Bench bench(way, 2);
    const int64_t rows = 32;
    bench.matmul(weight, random_floats(rows * extents.in, 1), rows);
    bench.vjp(weight, random_floats(rows * extents.out, 2), rows);
    EXPECT_LT(bench.scratch.peak_bytes(), whole_bytes / 16) << way_name(way);
  }
}

}  // namespace
}  // namespace umbel::kernels
