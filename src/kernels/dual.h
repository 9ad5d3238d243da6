// Dual: a number with its derivative in one direction (forward mode), for checking hand-derived vjps. Tests only.
#pragma once

#include <cmath>

namespace umbel::kernels::testing {

// value + tangent epsilon, epsilon^2 = 0.
struct Dual {
  Dual() = default;
  Dual(double value_in) : value(value_in) {}  // a constant
  Dual(double value_in, double tangent_in) : value(value_in), tangent(tangent_in) {}

  double value = 0;
  double tangent = 0;
};

inline Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.tangent + b.tangent}; }
inline Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.tangent - b.tangent}; }
inline Dual operator-(Dual a) { return {-a.value, -a.tangent}; }
inline Dual operator*(Dual a, Dual b) { return {a.value * b.value, a.tangent * b.value + a.value * b.tangent}; }
inline Dual operator/(Dual a, Dual b) {
  return {a.value / b.value, (a.tangent * b.value - a.value * b.tangent) / (b.value * b.value)};
}
inline bool operator>(Dual a, Dual b) { return a.value > b.value; }
inline Dual exp(Dual a) { return {std::exp(a.value), a.tangent * std::exp(a.value)}; }
inline Dual tanh(Dual a) {
  const double t = std::tanh(a.value);
  return {t, a.tangent * (1 - t * t)};
}
inline Dual erf(Dual a) { return {std::erf(a.value), a.tangent * 2 / std::sqrt(M_PI) * std::exp(-a.value * a.value)}; }
inline Dual log(Dual a) { return {std::log(a.value), a.tangent / a.value}; }
inline Dual sqrt(Dual a) { return {std::sqrt(a.value), a.tangent / (2 * std::sqrt(a.value))}; }

}  // namespace umbel::kernels::testing
