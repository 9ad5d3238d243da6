// Scalar truth of the activations, gated or not, and of the soft cap; forward and backward, in any number type (ref/row.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernels/activation.h"

namespace umbel::kernels::ref {

template <typename T>
struct Activated {
  T value;
  T slope;
};

template <typename T>
Activated<T> activate(Activation kind, const T& z) {
  using std::erf;
  using std::exp;
  using std::tanh;
  switch (kind) {
    case Activation::kSilu: {
      const T sigmoid = T(1) / (T(1) + exp(-z));
      return {z * sigmoid, sigmoid * (T(1) + z * (T(1) - sigmoid))};
    }
    case Activation::kGeluTanh: {
      const T c = T(std::sqrt(2 / std::numbers::pi)), cube = T(0.044715);
      const T t = tanh(c * (z + cube * z * z * z));
      return {T(0.5) * z * (T(1) + t), T(0.5) * (T(1) + t) + T(0.5) * z * (T(1) - t * t) * c * (T(1) + T(3) * cube * z * z)};
    }
    case Activation::kGelu: {
      const T share = T(0.5) * (T(1) + erf(z / T(std::numbers::sqrt2)));
      return {z * share, share + z * exp(-z * z / T(2)) / T(std::sqrt(2 * std::numbers::pi))};
    }
    case Activation::kRelu: break;
  }
  return z > T(0) ? Activated<T>{z, T(1)} : Activated<T>{T(0), T(0)};
}

// up null: not gated.
template <typename T>
void activation_forward(Activation kind, const T* gate, const T* up, T* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    y[i] = activate(kind, gate[i]).value;
    if (up != nullptr) y[i] = y[i] * up[i];
  }
}

// What a row's backward reads; dup null where up is.
template <typename T>
struct ActivationRow {
  const T* gate;
  const T* up;
  const T* dy;
};
template <typename T>
void activation_vjp(Activation kind, const ActivationRow<T>& row, T* dgate, T* dup, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const Activated<T> a = activate(kind, row.gate[i]);
    const T g = row.dy[i];
    dgate[i] = g * a.slope * (row.up != nullptr ? row.up[i] : T(1));
    if (row.up != nullptr) dup[i] = g * a.value;
  }
}

template <typename T>
void soft_cap_forward(T cap, T* x, int64_t count) {
  using std::tanh;
  for (int64_t i = 0; i < count; ++i) x[i] = cap * tanh(x[i] / cap);
}
// y as the forward left it; dx in place.
template <typename T>
void soft_cap_vjp(T cap, const T* y, T* dx, int64_t count) {
  for (int64_t i = 0; i < count; ++i) dx[i] = dx[i] * (T(1) - (y[i] / cap) * (y[i] / cap));
}

}  // namespace umbel::kernels::ref
