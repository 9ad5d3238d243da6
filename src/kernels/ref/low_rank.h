// Scalar truth of one low-rank term, y += u o scale * B (v o (A x)), for one row; B transposed [rank, out].
#pragma once

#include <cstdint>
#include <vector>

namespace umbel::kernels::ref {

// The term's tensors; u, v may be null (ones).
template <typename T>
struct LowRank {
  int64_t in;
  int64_t out;
  int64_t rank;
  const T* a;
  const T* b_t;
  const T* u;
  const T* v;
  T scale;
};
// Gradients of them, all +=; null: not wanted.
template <typename T>
struct LowRankGradient {
  T* a;
  T* b_t;
  T* u;
  T* v;
};

template <typename T>
void low_rank_forward(const LowRank<T>& term, const T* x, T* h, T* y) {
  for (int64_t r = 0; r < term.rank; ++r) {
    T sum = T(0);
    for (int64_t k = 0; k < term.in; ++k) sum = sum + term.a[r * term.in + k] * x[k];
    h[r] = term.v == nullptr ? sum : term.v[r] * sum;
  }
  for (int64_t o = 0; o < term.out; ++o) {
    T sum = T(0);
    for (int64_t r = 0; r < term.rank; ++r) sum = sum + term.b_t[r * term.out + o] * h[r];
    y[o] = y[o] + (term.u == nullptr ? term.scale : term.u[o] * term.scale) * sum;
  }
}

// dx += A^T (v o (B^T g)), g = scale u o dy; the parameters' gradients follow the same chain.
template <typename T>
void low_rank_vjp(const LowRank<T>& term, const T* x, const T* dy, T* dx, const LowRankGradient<T>& gradient) {
  std::vector<T> ax(term.rank, T(0));
  for (int64_t r = 0; r < term.rank; ++r) {
    for (int64_t k = 0; k < term.in; ++k) ax[r] = ax[r] + term.a[r * term.in + k] * x[k];
  }
  const auto v = [&](int64_t r) { return term.v == nullptr ? T(1) : term.v[r]; };
  for (int64_t o = 0; gradient.u != nullptr && o < term.out; ++o) {
    T sum = T(0);
    for (int64_t r = 0; r < term.rank; ++r) sum = sum + term.b_t[r * term.out + o] * v(r) * ax[r];
    gradient.u[o] = gradient.u[o] + dy[o] * term.scale * sum;
  }
  for (int64_t r = 0; r < term.rank; ++r) {
    T dh = T(0);
    for (int64_t o = 0; o < term.out; ++o) {
      const T g = dy[o] * (term.u == nullptr ? term.scale : term.u[o] * term.scale);
      dh = dh + term.b_t[r * term.out + o] * g;
      if (gradient.b_t != nullptr) gradient.b_t[r * term.out + o] = gradient.b_t[r * term.out + o] + g * v(r) * ax[r];
    }
    if (gradient.v != nullptr) gradient.v[r] = gradient.v[r] + dh * ax[r];
    for (int64_t k = 0; k < term.in; ++k) {
      dx[k] = dx[k] + dh * v(r) * term.a[r * term.in + k];
      if (gradient.a != nullptr) gradient.a[r * term.in + k] = gradient.a[r * term.in + k] + dh * v(r) * x[k];
    }
  }
}

}  // namespace umbel::kernels::ref
