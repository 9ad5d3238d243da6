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

// gain and bias of a LayerNorm; null = ones, zeros.
template <typename T>
struct Affine {
  const T* gain;
  const T* bias;
  T epsilon;
};

template <typename T>
struct Moments {
  T mean;
  T inverse;
};
template <typename T>
Moments<T> moments(const T* x, T epsilon, int64_t count) {
  const T n = T(static_cast<double>(count));
  T sum = T(0), squares = T(0);
  for (int64_t i = 0; i < count; ++i) sum = sum + x[i];
  const T mean = sum / n;
  for (int64_t i = 0; i < count; ++i) squares = squares + (x[i] - mean) * (x[i] - mean);
  return {mean, T(1) / sqrt(squares / n + epsilon)};
}

template <typename T>
void layer_norm_forward(const T* x, const Affine<T>& affine, T* y, int64_t count) {
  const Moments<T> m = moments(x, affine.epsilon, count);
  for (int64_t i = 0; i < count; ++i) {
    y[i] = (x[i] - m.mean) * m.inverse * (affine.gain == nullptr ? T(1) : affine.gain[i]);
    if (affine.bias != nullptr) y[i] = y[i] + affine.bias[i];
  }
}

// What layer_norm_vjp writes: dx =, dgain += dy o xhat (null: not wanted).
template <typename T>
struct NormGradient {
  T* dx;
  T* dgain;
};
// dx = inverse o (g - mean(g) - xhat mean(g o xhat)), g = dy o gain.
template <typename T>
void layer_norm_vjp(const T* x, const Affine<T>& affine, const T* dy, const NormGradient<T>& d, int64_t count) {
  const Moments<T> m = moments(x, affine.epsilon, count);
  const T n = T(static_cast<double>(count));
  const auto g = [&](int64_t i) { return dy[i] * (affine.gain == nullptr ? T(1) : affine.gain[i]); };
  const auto normed = [&](int64_t i) { return (x[i] - m.mean) * m.inverse; };
  T mean = T(0), projection = T(0);
  for (int64_t i = 0; i < count; ++i) {
    mean = mean + g(i);
    projection = projection + g(i) * normed(i);
  }
  for (int64_t i = 0; i < count; ++i) {
    d.dx[i] = m.inverse * (g(i) - mean / n - normed(i) * projection / n);
    if (d.dgain != nullptr) d.dgain[i] = d.dgain[i] + dy[i] * normed(i);
  }
}

// A row's heads: how many, how wide, and how many dimensions of each turn.
struct Heads {
  int64_t count;
  int64_t dim;
  int64_t rotary;
};

// In place. angles: cos [rotary / 2], sin [rotary / 2].
template <typename T>
void rope_forward(const T* angles, const Heads& heads, T* x) {
  const int64_t half = heads.rotary / 2;
  for (int64_t head = 0; head < heads.count; ++head, x += heads.dim) {
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
void rope_vjp(const T* angles, const Heads& heads, T* dx) {
  const int64_t half = heads.rotary / 2;
  for (int64_t head = 0; head < heads.count; ++head, dx += heads.dim) {
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
