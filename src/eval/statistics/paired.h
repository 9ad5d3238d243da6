// Is one better than the other on the same rows? Paired tests, two-sided, and Holm's correction for many of them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace umbel::eval {

struct PairedTest {
  double difference = 0;  // mean of ours - theirs
  double p = 1;
  std::string_view method;  // "mcnemar", "paired bootstrap"; "none" without rows
};

// McNemar's exact test: only_ours rows that only one got right, only_theirs that only the other did. The binomial's two equal tails.
double mcnemar_p(int64_t only_ours, int64_t only_theirs);

// McNemar's test where every value is 0 or 1; else the paired bootstrap: rows are drawn with replacement, and p is the share of draws whose
// mean difference lies as far from the measured one as that lies from 0 (Efron and Tibshirani 1993, 16.2), with one added to both counts. The same
// values and seed give the same bits. REQUIRES as many of ours as of theirs.
PairedTest paired_test(std::span<const double> ours, std::span<const double> theirs, uint64_t seed);

// Holm 1979: p values corrected for their number, in the order given; never below the given ones, never above 1.
std::vector<double> holm(std::span<const double> p);

}  // namespace umbel::eval
