// Popularity: which adapter a request asks for. Every model states its probabilities p_i (no tool's private "alpha").
//
// Pure: the choice is a function of the seed and the request's number. Immutable; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace umbel::load {

enum class Mix : uint8_t {
  kIdentical,  // always the first
  kDistinct,   // round robin: neighbours in time never share one while there are enough
  kUniform,    // p_i = 1/n
  kZipf,       // p_i proportional to (i + 1)^-exponent
};

class Popularity {
 public:
  // names: not empty. exponent only matters for kZipf (>= 0).
  Popularity(Mix mix, size_t names, double exponent, uint64_t seed);

  // Index of the adapter of request `number` (0, 1, 2, ...).
  size_t pick(uint64_t number) const;
  // p_i of every adapter.
  const std::vector<double>& probabilities() const { return probabilities_; }

 private:
  Mix mix_;
  uint64_t seed_;
  std::vector<double> probabilities_;
  std::vector<double> cumulative_;
};

// "uniform", "identical", "distinct", "zipf".
Result<Mix> parse_mix(const std::string& name);

}  // namespace umbel::load
