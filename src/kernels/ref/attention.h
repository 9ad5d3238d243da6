// Scalar truth of attention for one query vector over dense keys and values [keys, head_dim]: the plain softmax.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace umbel::kernels::ref {

// One query's view: the keys [0, count) that it attends to, rows of `stride` elements.
template <typename T>
struct Keys {
  const T* k;
  const T* v;
  int64_t count;
  int64_t head_dim;
  int64_t stride;
  T scale;
  T cap = T(0);  // of the scaled scores; 0 = none
};

template <typename T>
std::vector<T> attention_scores(const T* q, const Keys<T>& keys) {
  using std::tanh;
  std::vector<T> s(keys.count, T(0));
  const bool capped = keys.cap > T(0);
  for (int64_t j = 0; j < keys.count; ++j) {
    for (int64_t d = 0; d < keys.head_dim; ++d) s[j] = s[j] + q[d] * keys.k[j * keys.stride + d];
    s[j] = s[j] * keys.scale;
    if (capped) s[j] = keys.cap * tanh(s[j] / keys.cap);
  }
  return s;
}

template <typename T>
std::vector<T> attention_weights(const T* q, const Keys<T>& keys) {
  using std::exp;
  std::vector<T> p = attention_scores(q, keys);
  T largest = p[0];
  for (const T& s : p) largest = s > largest ? s : largest;
  T sum = T(0);
  for (T& s : p) {
    s = exp(s - largest);
    sum = sum + s;
  }
  for (T& s : p) s = s / sum;
  return p;
}

template <typename T>
void attention_forward(const T* q, const Keys<T>& keys, T* out) {
  const std::vector<T> p = attention_weights(q, keys);
  for (int64_t d = 0; d < keys.head_dim; ++d) {
    T sum = T(0);
    for (int64_t j = 0; j < keys.count; ++j) sum = sum + p[j] * keys.v[j * keys.stride + d];
    out[d] = sum;
  }
}

// q =, k += and v += (several queries share a key).
template <typename T>
struct AttentionGradient {
  T* q;
  T* k;
  T* v;
};

// ds_j = p_j (dout . v_j - dout . out), times 1 - (s_j / cap)^2 where scores are capped.
template <typename T>
void attention_vjp(const T* q, const Keys<T>& keys, const T* dout, const AttentionGradient<T>& gradient) {
  T* dq = gradient.q;
  T* dk = gradient.k;
  T* dv = gradient.v;
  const std::vector<T> p = attention_weights(q, keys), s = attention_scores(q, keys);
  std::vector<T> dp(keys.count, T(0));
  T mean = T(0);
  for (int64_t j = 0; j < keys.count; ++j) {
    for (int64_t d = 0; d < keys.head_dim; ++d) dp[j] = dp[j] + dout[d] * keys.v[j * keys.stride + d];
    mean = mean + p[j] * dp[j];
  }
  for (int64_t d = 0; d < keys.head_dim; ++d) dq[d] = T(0);
  for (int64_t j = 0; j < keys.count; ++j) {
    T ds = p[j] * (dp[j] - mean) * keys.scale;
    if (keys.cap > T(0)) ds = ds * (T(1) - (s[j] / keys.cap) * (s[j] / keys.cap));
    for (int64_t d = 0; d < keys.head_dim; ++d) {
      dq[d] = dq[d] + ds * keys.k[j * keys.stride + d];
      dk[j * keys.stride + d] = dk[j * keys.stride + d] + ds * q[d];
      dv[j * keys.stride + d] = dv[j * keys.stride + d] + p[j] * dout[d];
    }
  }
}

}  // namespace umbel::kernels::ref
