// Intervals of 95 % around a mean: Wilson's for right and wrong (Wilson 1927), the percentile bootstrap for other figures (Efron 1979). The
// bootstrap draws from a seeded stream of its own: the same values and seed give the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace umbel::eval {

struct Interval {
  double low = 0, high = 0;
  std::string_view method;  // "wilson", "bootstrap"; "none" without rows
};

// Draws of rows that a bootstrap makes in all: at most kBootstrapRounds, fewer where there are very many rows.
inline constexpr int kBootstrapRounds = 10'000;
int bootstrap_rounds(size_t rows);

Interval wilson(int64_t right, int64_t rows);
Interval bootstrap(std::span<const double> values, uint64_t seed);
// Wilson's when every value is 0 or 1.
Interval interval_of(std::span<const double> values, uint64_t seed);

}  // namespace umbel::eval
