#include "adapters/low_rank_compare.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace umbel {
namespace {

// B A in double: a [rank, in], b_t [rank, out].
struct Product {
  int64_t rank = 0, in = 0, out = 0;
  std::vector<double> a, b_t;
};

Product product_of(const LoraModule& module) {
  Product made{.rank = module.rank(), .in = module.in(), .out = module.out()};
  made.a.assign(module.a.f32(), module.a.f32() + module.a.elements());
  made.b_t.resize(static_cast<size_t>(made.rank * made.out));
  for (int64_t o = 0; o < made.out; ++o) {
    for (int64_t k = 0; k < made.rank; ++k) {
      made.b_t[k * made.out + o] = static_cast<double>(module.scale) * module.b.f32()[o * made.rank + k];
    }
  }
  return made;
}

double dot(const double* left, const double* right, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += left[i] * right[i];
  return sum;
}

// <B1 A1, B2 A2> = sum over k, l of (b1_k . b2_l) (a1_k . a2_l).
double inner(const Product& first, const Product& second) {
  double sum = 0;
  for (int64_t k = 0; k < first.rank; ++k) {
    for (int64_t l = 0; l < second.rank; ++l) {
      sum += dot(first.b_t.data() + k * first.out, second.b_t.data() + l * second.out, first.out) *
             dot(first.a.data() + k * first.in, second.a.data() + l * second.in, first.in);
    }
  }
  return sum;
}

std::vector<double> minus(const std::vector<double>& left, const std::vector<double>& right) {
  std::vector<double> made(left.size());
  for (size_t i = 0; i < made.size(); ++i) made[i] = left[i] - right[i];
  return made;
}

// |B1 A1 - B2 A2|^2. Of equal ranks as B1 (A1 - A2) + (B1 - B2) A2, so that nearly equal updates do not cancel.
double difference_squared(const Product& first, const Product& second) {
  if (first.rank != second.rank) return inner(first, first) + inner(second, second) - 2 * inner(first, second);
  Product left = first, right = second;
  left.a = minus(first.a, second.a);
  right.b_t = minus(first.b_t, second.b_t);
  return inner(left, left) + inner(right, right) + 2 * inner(left, right);
}

double cosine_of(double product, double first, double second) {
  return first > 0 && second > 0 ? std::clamp(product / (first * second), -1.0, 1.0) : 0.0;
}

}  // namespace

UpdateComparison compare_low_rank(const LoraModule& first, const LoraModule& second) {
  CHECK(first.in() == second.in() && first.out() == second.out(), "updates of one weight");
  const Product one = product_of(first), two = product_of(second);
  UpdateComparison made{.first = std::sqrt(std::max(0.0, inner(one, one))), .second = std::sqrt(std::max(0.0, inner(two, two)))};
  made.difference = std::sqrt(std::max(0.0, difference_squared(one, two)));
  made.cosine = cosine_of(inner(one, two), made.first, made.second);
  return made;
}

UpdateComparison compare_dense(const float* first, const float* second, int64_t count) {
  double one = 0, two = 0, both = 0, difference = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double x = first[i], y = second[i];
    one += x * x;
    two += y * y;
    both += x * y;
    difference += (x - y) * (x - y);
  }
  UpdateComparison made{.first = std::sqrt(one), .second = std::sqrt(two), .difference = std::sqrt(difference)};
  made.cosine = cosine_of(both, made.first, made.second);
  return made;
}

}  // namespace umbel
