#include "load/popularity.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace umbel::load {

Popularity::Popularity(Mix mix, size_t names, double exponent, uint64_t seed) : mix_(mix), seed_(seed) {
  CHECK(names > 0, "a popularity needs at least one name");
  double sum = 0;
  for (size_t i = 0; i < names; ++i) {
    double weight = 1.0;
    if (mix == Mix::kZipf) weight = std::pow(static_cast<double>(i + 1), -exponent);
    if (mix == Mix::kIdentical) weight = i == 0 ? 1.0 : 0.0;
    probabilities_.push_back(weight);
    sum += weight;
    cumulative_.push_back(sum);
  }
  for (double& p : probabilities_) p /= sum;
}

size_t Popularity::pick(uint64_t number) const {
  if (mix_ == Mix::kDistinct) return number % probabilities_.size();
  Random random(mix_key({seed_, number}));
  const double draw = random.next_double() * cumulative_.back();
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), draw);
  return std::min<size_t>(found - cumulative_.begin(), cumulative_.size() - 1);
}

Result<Mix> parse_mix(const std::string& name) {
  if (name == "identical") return Mix::kIdentical;
  if (name == "distinct") return Mix::kDistinct;
  if (name == "uniform") return Mix::kUniform;
  if (name == "zipf") return Mix::kZipf;
  return invalid_argument("unknown adapter mix \"" + name + "\" (known: uniform, identical, distinct, zipf)");
}

}  // namespace umbel::load
