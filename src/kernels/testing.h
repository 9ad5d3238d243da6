// What the tests of this room share: contexts for every ISA that this machine runs, seeded numbers, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "kernels/api.h"
#include "kernels/table.h"

namespace umbel::kernels::testing {

// Owns what a Context refers to.
struct Bench {
  explicit Bench(Isa isa, int threads = 2)
      : pool(threads), scratch(64 << 20), context{table_for(isa), choice, pool, scratch} {
    choice.isa = isa;
  }
  Choice choice;
  ThreadPool pool;
  Arena scratch;
  Context context;
};

inline std::vector<float> normal(Random& random, int64_t count, float scale = 1.0f) {
  std::vector<float> values(count);
  for (float& value : values) value = scale * static_cast<float>(random.next_normal());
  return values;
}

inline std::vector<double> wide(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// The largest difference, relative to the largest expected magnitude (or 1e-30).
template <typename A, typename B>
double difference(const A& actual, const B& expected) {
  double largest = 1e-30;
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    const double gap = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    worst = std::isnan(gap) ? INFINITY : std::max(worst, gap);
  }
  return worst / largest;
}

inline bool same_bits(const float* a, const float* b, int64_t count) {
  return std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)) == 0;
}

// A test that runs once for every ISA of this machine.
class EveryIsa : public ::testing::TestWithParam<Isa> {};

}  // namespace umbel::kernels::testing

// Registers the EveryIsa tests of a suite.
#define UMBEL_EVERY_ISA(suite)                                                                              \
  INSTANTIATE_TEST_SUITE_P(Isas, suite, ::testing::ValuesIn(::umbel::kernels::available_isas()),            \
                           [](const auto& info) { return std::string(::umbel::kernels::isa_name(info.param)); })
