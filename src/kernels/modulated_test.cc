// The product with W o sum_t post_t pre_t^T and its gradients, for every ISA and stored form, against plain loops in double (5e-6 of
// the largest entry), and with the same bits alone and in a crowd.
#include <algorithm>

#include "kernels/api_vjp.h"
#include "kernels/testing.h"

namespace umbel::kernels {
namespace {

using testing::Bench;
using testing::difference;
using testing::normal;
using testing::same_bits;

constexpr double kTolerance = 5e-6;

struct Form {
  DType stored;
  Quantisation quantisation = Quantisation::kNone;
};
constexpr Form kForms[] = {{DType::kF32}, {DType::kF16}, {DType::kBF16}, {DType::kF32, Quantisation::kInt8}, {DType::kF32, Quantisation::kNf4}};
struct Extents {
  int64_t out, in;
};
constexpr Extents kExtents[] = {{1, 2}, {3, 64}, {33, 65}, {70, 255}, {300, 128}, {97, 320}};

// A weight, scale terms on it (some sides null) and rows of whole examples of lengths 1, 2, 3 ...
struct Case {
  int64_t out, in;
  std::vector<std::vector<float>> vectors;
  std::vector<ScaleTerm> terms;
  FrozenMatrix weight;
  std::vector<float> wide;  // what the weight stands for
  std::vector<int32_t> examples;
  std::vector<float> x, dy;

  Case(const Form& form, const Choice& choice, const Extents& extents, int count, int rows) : out(extents.out), in(extents.in), wide(out * in) {
    Random random(static_cast<uint64_t>(out * 7919 + in));
    const std::vector<float> values = normal(random, out * in);
    const TensorView view{DType::kF32, {out, in}, values.data()};
    weight = form.quantisation == Quantisation::kNone ? FrozenMatrix::pack(view, form.stored, choice)
                                                      : FrozenMatrix::quantise(view, form.quantisation, {}).value();
    for (int64_t o = 0; o < out; ++o) weight.read_row(o, &wide[o * in]);
    for (int t = 0; t < count; ++t) {
      vectors.push_back(normal(random, in));
      vectors.push_back(normal(random, out));
    }
    for (int t = 0; t < count; ++t) {
      terms.push_back({t % 4 == 1 ? nullptr : vectors[2 * t].data(), t % 4 == 2 ? nullptr : vectors[2 * t + 1].data()});
    }
    for (int at = 0, length = 1; at < rows; at += length++) examples.push_back(at);
    examples.push_back(rows);
    x = normal(random, rows * in);
    dy = normal(random, rows * out);
  }
  int64_t rows() const { return examples.back(); }
  double pre(size_t t, int64_t i) const { return terms[t].pre == nullptr ? 1.0 : terms[t].pre[i]; }
  double post(size_t t, int64_t o) const { return terms[t].post == nullptr ? 1.0 : terms[t].post[o]; }
  double factor(int64_t o, int64_t i) const {
    double sum = 0;
    for (size_t t = 0; t < terms.size(); ++t) sum += post(t, o) * pre(t, i);
    return sum;
  }
  ModulatedRows modulated_rows() const { return {{x.data(), rows(), in}, {dy.data(), rows(), out}, examples}; }
};

struct Gradients {
  std::vector<std::vector<float>> vectors;
  std::vector<ScaledRowGradient> list;

  explicit Gradients(const Case& c) {
    for (size_t t = 0; t < c.terms.size(); ++t) {
      vectors.emplace_back(c.in, 1.0f);
      vectors.emplace_back(c.out, 1.0f);
    }
    for (size_t t = 0; t < c.terms.size(); ++t) {
      list.push_back({c.terms[t].pre == nullptr ? nullptr : vectors[2 * t].data(), c.terms[t].post == nullptr ? nullptr : vectors[2 * t + 1].data()});
    }
  }
};

template <typename Body>
void for_cases(Isa isa, int rows, const Body& body) {
  for (const Form& form : kForms) {
    for (const Extents& extents : kExtents) {
      if (is_nf4(form.quantisation) && extents.in % kNf4Block != 0) continue;
      for (const int terms : {2, 5}) {
        for (const Arithmetic arithmetic : available_arithmetics(isa)) {
          if (form.stored != DType::kBF16 && arithmetic != Arithmetic::kF32Fma) continue;
          Bench bench(isa);
          bench.choice.arithmetic = arithmetic;
          const Case c(form, bench.choice, extents, terms, rows);
          SCOPED_TRACE(std::string(isa_name(isa)) + " " + std::string(arithmetic_name(arithmetic)) + " " + std::string(dtype_name(form.stored)) + " " +
                       std::string(quantisation_name(form.quantisation)) + " " + std::to_string(extents.out) + " x " + std::to_string(extents.in));
          body(bench, c);
        }
      }
    }
  }
}

class Modulated : public testing::EveryIsa {};
UMBEL_EVERY_ISA(Modulated);

TEST_P(Modulated, ProductsEqualPlainLoops) {
  for_cases(GetParam(), 40, [](Bench& bench, const Case& c) {
    std::vector<float> y(c.rows() * c.out, NAN), dx(c.rows() * c.in, NAN);
    matmul_modulated(bench.context, c.weight, c.terms, {c.x.data(), c.rows(), c.in}, {y.data(), c.rows(), c.out});
    matmul_modulated_vjp_x(bench.context, c.weight, c.terms, {c.dy.data(), c.rows(), c.out}, {dx.data(), c.rows(), c.in});
    EXPECT_LE(bench.scratch.peak_bytes(), matmul_scratch_bytes(c.rows(), c.out, c.in, 2));
    std::vector<double> expected_y(y.size()), expected_dx(dx.size());
    for (int64_t o = 0; o < c.out; ++o) {
      for (int64_t i = 0; i < c.in; ++i) {
        const double w = c.wide[o * c.in + i] * c.factor(o, i);
        for (int64_t m = 0; m < c.rows(); ++m) {
          expected_y[m * c.out + o] += w * c.x[m * c.in + i];
          expected_dx[m * c.in + i] += w * c.dy[m * c.out + o];
        }
      }
    }
    EXPECT_LT(difference(y, expected_y), kTolerance);
    EXPECT_LT(difference(dx, expected_dx), kTolerance);
  });
}

TEST_P(Modulated, GradientsOfTermsEqualPlainLoops) {
  for_cases(GetParam(), 90, [](Bench& bench, const Case& c) {
    Gradients gradients(c);
    matmul_modulated_vjp_terms(bench.context, c.weight, c.terms, gradients.list, c.modulated_rows());
    EXPECT_LE(bench.scratch.peak_bytes(), matmul_modulated_vjp_terms_scratch_bytes(c.rows(), c.out, c.in, static_cast<int64_t>(c.terms.size()), 2));
    std::vector<double> product(c.out * c.in);  // W o dy^T x
    for (int64_t o = 0; o < c.out; ++o) {
      for (int64_t i = 0; i < c.in; ++i) {
        double sum = 0;
        for (int64_t m = 0; m < c.rows(); ++m) sum += static_cast<double>(c.dy[m * c.out + o]) * c.x[m * c.in + i];
        product[o * c.in + i] = sum * c.wide[o * c.in + i];
      }
    }
    for (size_t t = 0; t < c.terms.size(); ++t) {
      std::vector<double> pre(c.in, 1.0), post(c.out, 1.0);
      for (int64_t o = 0; o < c.out; ++o) {
        for (int64_t i = 0; i < c.in; ++i) {
          pre[i] += product[o * c.in + i] * c.post(t, o);
          post[o] += product[o * c.in + i] * c.pre(t, i);
        }
      }
      if (c.terms[t].pre != nullptr) {
        EXPECT_LT(difference(gradients.vectors[2 * t], pre), kTolerance) << "pre " << t;
      }
      if (c.terms[t].post != nullptr) {
        EXPECT_LT(difference(gradients.vectors[2 * t + 1], post), kTolerance) << "post " << t;
      }
    }
  });
}

// A row's bits in any cut of the rows, with one thread and two; the gradients' bits in any cut between examples.
TEST_P(Modulated, BitsDoNotDependOnTheBatch) {
  for (const Form& form : kForms) {
    Bench one(GetParam(), 1), two(GetParam(), 2);
    const Case c(form, one.choice, {300, 128}, 3, 600);
    std::vector<float> y(600 * c.out), dx(600 * c.in);
    Gradients whole(c);
    matmul_modulated(one.context, c.weight, c.terms, {c.x.data(), 600, c.in}, {y.data(), 600, c.out});
    matmul_modulated_vjp_x(one.context, c.weight, c.terms, {c.dy.data(), 600, c.out}, {dx.data(), 600, c.in});
    matmul_modulated_vjp_terms(one.context, c.weight, c.terms, whole.list, c.modulated_rows());
    Gradients parts(c);
    for (size_t first = 0; first + 1 < c.examples.size();) {
      const size_t count = std::min<size_t>(1 + first / 2, c.examples.size() - 1 - first);
      const int64_t begin = c.examples[first], rows = c.examples[first + count] - begin;
      std::vector<float> part_y(rows * c.out), part_dx(rows * c.in);
      matmul_modulated(two.context, c.weight, c.terms, {c.x.data() + begin * c.in, rows, c.in}, {part_y.data(), rows, c.out});
      matmul_modulated_vjp_x(two.context, c.weight, c.terms, {c.dy.data() + begin * c.out, rows, c.out}, {part_dx.data(), rows, c.in});
      EXPECT_TRUE(same_bits(part_y.data(), y.data() + begin * c.out, rows * c.out)) << begin;
      EXPECT_TRUE(same_bits(part_dx.data(), dx.data() + begin * c.in, rows * c.in)) << begin;
      ModulatedRows some = c.modulated_rows();
      some.examples = some.examples.subspan(first, count + 1);
      matmul_modulated_vjp_terms(two.context, c.weight, c.terms, parts.list, some);
      first += count;
    }
    EXPECT_EQ(whole.vectors, parts.vectors);
  }
}

}  // namespace
}  // namespace umbel::kernels
