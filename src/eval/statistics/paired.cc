#include "eval/statistics/paired.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/random.h"
#include "eval/statistics/interval.h"

namespace umbel::eval {
namespace {

bool is_binary(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0 || value == 1; });
}

double bootstrap_p(std::span<const double> differences, double mean, uint64_t seed) {
  Random draw(mix_key({seed, differences.size(), 1}));
  const int rounds = bootstrap_rounds(differences.size());
  int64_t as_far = 0;
  const double far = std::fabs(mean) * (1 - 1e-12);  // equal up to the order of summing counts as equal
  for (int round = 0; round < rounds; ++round) {
    double sum = 0;
    for (size_t i = 0; i < differences.size(); ++i) sum += differences[draw.next_below(differences.size())];
    as_far += std::fabs(sum / static_cast<double>(differences.size()) - mean) >= far ? 1 : 0;
  }
  return static_cast<double>(as_far + 1) / static_cast<double>(rounds + 1);
}

}  // namespace

double mcnemar_p(int64_t only_ours, int64_t only_theirs) {
  const int64_t n = only_ours + only_theirs, fewer = std::min(only_ours, only_theirs);
  if (n == 0) return 1;
  const auto log_choose = [n](int64_t k) {
    return std::lgamma(static_cast<double>(n + 1)) - std::lgamma(static_cast<double>(k + 1)) - std::lgamma(static_cast<double>(n - k + 1));
  };
  double tail = 0;
  for (int64_t k = 0; k <= fewer; ++k) tail += std::exp(log_choose(k) - static_cast<double>(n) * std::log(2.0));
  return std::min(1.0, 2 * tail);
}

PairedTest paired_test(std::span<const double> ours, std::span<const double> theirs, uint64_t seed) {
  CHECK(ours.size() == theirs.size(), "paired values");
  PairedTest test{.method = "none"};
  if (ours.empty()) return test;
  std::vector<double> differences(ours.size());
  for (size_t i = 0; i < ours.size(); ++i) differences[i] = ours[i] - theirs[i];
  test.difference = std::accumulate(differences.begin(), differences.end(), 0.0) / static_cast<double>(ours.size());
  if (is_binary(ours) && is_binary(theirs)) {
    test.method = "mcnemar";
    test.p = mcnemar_p(std::count(differences.begin(), differences.end(), 1.0), std::count(differences.begin(), differences.end(), -1.0));
  } else {
    test.method = "paired bootstrap";
    const bool equal = std::all_of(differences.begin(), differences.end(), [](double difference) { return difference == 0; });
    test.p = equal ? 1 : bootstrap_p(differences, test.difference, seed);
  }
  return test;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> corrected(p.size());
  double most = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    most = std::max(most, std::min(1.0, p[order[i]] * static_cast<double>(order.size() - i)));
    corrected[order[i]] = most;
  }
  return corrected;
}

}  // namespace umbel::eval
