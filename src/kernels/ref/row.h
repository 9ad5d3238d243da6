// Scalar truth of the row-wise kernels, forward and (x_vjp) backward. One row at a time, in any number type: the tests run
// them in float, double and dual numbers. A vjp takes the gradient of the output and overwrites the gradients of the inputs,
// except where it says "+=".
#pragma once

#include <cmath>
#include <cstdint>

namespace umbel::kernels::ref {

using std::exp;
using std::sqrt;

template <typename T>
void rms_norm_forward(const T* x, const T* gain, T epsilon, T* y, int64_t count) {
  T sum = T(0);
  for (int64_t i = 0; i < count; ++i) sum = sum + x[i] * x[i];
  const T inverse = T(1) / sqrt(sum / T(static_cast<double>(count)) + epsilon);
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * inverse * (gain == nullptr ? T(1) : gain[i]);
}

// dx = inverse o (g - xhat mean(g o xhat)), g = dy o gain, xhat = x inverse. dgain += dy o xhat (null: not wanted).
template <typename T>
void rms_norm_vjp(const T* x, const T* gain, T epsilon, const T* dy, T* dx, T* dgain, int64_t count) {
  T sum = T(0);
  for (int64_t i = 0; i < count; ++i) sum = sum + x[i] * x[i];
  const T n = T(static_cast<double>(count));
  const T inverse = T(1) / sqrt(sum / n + epsilon);
  T projection = T(0);
  for (int64_t i = 0; i < count; ++i) {
    projection = projection + dy[i] * (gain == nullptr ? T(1) : gain[i]) * x[i] * inverse;
  }
  for (int64_t i = 0; i < count; ++i) {
    const T g = dy[i] * (gain == nullptr ? T(1) : gain[i]);
    dx[i] = inverse * (g - x[i] * inverse * projection / n);
    if (dgain != nullptr) dgain[i] = dgain[i] + dy[i] * x[i] * inverse;
  }
}

template <typename T>
void swiglu_forward(const T* gate, const T* up, T* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = gate[i] / (T(1) + exp(-gate[i])) * up[i];
}

template <typename T>
void swiglu_vjp(const T* gate, const T* up, const T* dy, T* dgate, T* dup, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const T sigmoid = T(1) / (T(1) + exp(-gate[i]));
    const T g = dy[i];
    dup[i] = g * gate[i] * sigmoid;
    dgate[i] = g * up[i] * sigmoid * (T(1) + gate[i] * (T(1) - sigmoid));
  }
}

// In place. angles: cos [head_dim / 2], sin [head_dim / 2].
template <typename T>
void rope_forward(const T* angles, int64_t heads, int64_t head_dim, T* x) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const T a = x[i];
      const T b = x[half + i];
      x[i] = a * angles[i] - b * angles[half + i];
      x[half + i] = b * angles[i] + a * angles[half + i];
    }
  }
}

// In place: the transposed rotation.
template <typename T>
void rope_vjp(const T* angles, int64_t heads, int64_t head_dim, T* dx) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, dx += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const T a = dx[i];
      const T b = dx[half + i];
      dx[i] = a * angles[i] + b * angles[half + i];
      dx[half + i] = b * angles[i] - a * angles[half + i];
    }
  }
}

// Row scale, y = x o scale: dx = dy o scale; dscale += dy o x (null: not wanted).
template <typename T>
void scale_forward(const T* x, const T* scale, T* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = scale == nullptr ? x[i] : x[i] * scale[i];
}
template <typename T>
void scale_vjp(const T* x, const T* scale, const T* dy, T* dx, T* dscale, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const T g = dy[i];
    dx[i] = scale == nullptr ? g : g * scale[i];
    if (dscale != nullptr) dscale[i] = dscale[i] + g * x[i];
  }
}

template <typename T>
T log_sum_exp_forward(const T* x, int64_t count) {
  using std::log;
  T largest = x[0];
  for (int64_t i = 1; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  T sum = T(0);
  for (int64_t i = 0; i < count; ++i) sum = sum + exp(x[i] - largest);
  return largest + log(sum);
}

// Loss of one row of logits against one label, -log softmax(x)[label].
template <typename T>
T cross_entropy_forward(const T* x, int64_t label, int64_t count) {
  return log_sum_exp_forward(x, count) - x[label];
}
// dx = dloss (softmax(x) - onehot(label)).
template <typename T>
void cross_entropy_vjp(const T* x, int64_t label, T dloss, T* dx, int64_t count) {
  const T total = log_sum_exp_forward(x, count);
  for (int64_t i = 0; i < count; ++i) dx[i] = dloss * (exp(x[i] - total) - (i == label ? T(1) : T(0)));
}

}  // namespace umbel::kernels::ref
