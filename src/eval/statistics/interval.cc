#include "eval/statistics/interval.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace umbel::eval {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5 % of a standard normal
constexpr double kTail = 0.025;
constexpr size_t kDrawsMax = 100'000'000;
constexpr int kRoundsMin = 200;

}  // namespace

int bootstrap_rounds(size_t rows) {
  if (rows == 0) return 0;
  return static_cast<int>(std::clamp<size_t>(kDrawsMax / rows, kRoundsMin, kBootstrapRounds));
}

Interval wilson(int64_t right, int64_t rows) {
  if (rows == 0) return {.low = 0, .high = 0, .method = "none"};
  const auto n = static_cast<double>(rows);
  const double share = static_cast<double>(right) / n, z2 = kZ * kZ;
  const double middle = (share + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kZ / (1 + z2 / n) * std::sqrt(share * (1 - share) / n + z2 / (4 * n * n));
  // At the ends the formula is exact, its rounding is not.
  return {.low = right == 0 ? 0 : std::max(0.0, middle - half), .high = right == rows ? 1 : std::min(1.0, middle + half), .method = "wilson"};
}

Interval bootstrap(std::span<const double> values, uint64_t seed) {
  if (values.empty()) return {.low = 0, .high = 0, .method = "none"};
  Random draw(mix_key({seed, values.size()}));
  const int rounds = bootstrap_rounds(values.size());
  std::vector<double> means;
  means.reserve(static_cast<size_t>(rounds));
  for (int round = 0; round < rounds; ++round) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[draw.next_below(values.size())];
    means.push_back(sum / static_cast<double>(values.size()));
  }
  std::sort(means.begin(), means.end());
  // Linear between neighbours, as numpy.percentile.
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(means.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, means.size() - 1);
    return means[below] + (place - static_cast<double>(below)) * (means[above] - means[below]);
  };
  return {.low = at(kTail), .high = at(1 - kTail), .method = "bootstrap"};
}

Interval interval_of(std::span<const double> values, uint64_t seed) {
  const bool binary = std::all_of(values.begin(), values.end(), [](double value) { return value == 0 || value == 1; });
  if (!binary) return bootstrap(values, seed);
  return wilson(std::count(values.begin(), values.end(), 1.0), static_cast<int64_t>(values.size()));
}

}  // namespace umbel::eval
