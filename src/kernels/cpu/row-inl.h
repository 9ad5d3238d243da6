// Row-wise arithmetic: scale, norms, rotary embedding, rounding, arg max and log-sum-exp. table.h says what each does.
namespace umbel::kernels::UMBEL_TARGET {

static void scale_row(const float* x, const float* scale, float* y, int64_t count) {
  if (scale == nullptr) {
    for_vectors(count, [&](int64_t i, int n) { store_lanes(y + i, load_lanes(x + i, n), n); });
  } else {
    for_vectors(count,
                [&](int64_t i, int n) { store_lanes(y + i, mul(load_lanes(x + i, n), load_lanes(scale + i, n)), n); });
  }
}

static void scale_add_row(const float* x, const float* scale, float* y, int64_t count) {
  if (scale == nullptr) {
    for_vectors(count, [&](int64_t i, int n) { store_lanes(y + i, add(load_lanes(y + i, n), load_lanes(x + i, n)), n); });
  } else {
    for_vectors(count, [&](int64_t i, int n) {
      store_lanes(y + i, fma(load_lanes(scale + i, n), load_lanes(x + i, n), load_lanes(y + i, n)), n);
    });
  }
}

// Sum of x o y: four accumulators over blocks of four vectors, then single vectors into the first; fixed by count alone.
UMBEL_INLINE float dot(const float* x, const float* y, int64_t count) {
  Vec sum[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sum[j] = fma(load(x + i + j * kLanes), load(y + i + j * kLanes), sum[j]);
  }
  for (; i < count; i += kLanes) {
    const int n = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
    sum[0] = fma(load_lanes(x + i, n), load_lanes(y + i, n), sum[0]);
  }
  return reduce_add(add(add(sum[0], sum[2]), add(sum[1], sum[3])));
}

static void rms_norm_row(const float* x, const float* gain, float epsilon, float* y, int64_t count) {
  const float mean = dot(x, x, count) / static_cast<float>(count);
  const Vec inverse = div(set1(1.0f), sqrt(set1(mean + epsilon)));
  for_vectors(count, [&](int64_t i, int n) {
    Vec v = mul(load_lanes(x + i, n), inverse);
    if (gain != nullptr) v = mul(v, load_lanes(gain + i, n));
    store_lanes(y + i, v, n);
  });
}

static void multiply_row(float factor, float* x, int64_t count) {
  for_vectors(count, [&](int64_t i, int n) { store_lanes(x + i, mul(set1(factor), load_lanes(x + i, n)), n); });
}

// Sum of f(offset, lanes): four accumulators over blocks of four vectors, then single vectors into the first, as dot does.
template <typename Function>
UMBEL_INLINE float sum_of(int64_t count, const Function& f) {
  Vec sum[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sum[j] = add(sum[j], f(i + j * kLanes, kLanes));
  }
  for (; i < count; i += kLanes) {
    const int n = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
    const Vec v = f(i, n);
    sum[0] = add(sum[0], n == kLanes ? v : select_range(v, zero(), 0, n));
  }
  return reduce_add(add(add(sum[0], sum[2]), add(sum[1], sum[3])));
}

UMBEL_INLINE Moments moments(const float* x, float epsilon, int64_t count) {
  const float n = static_cast<float>(count);
  const float mean = sum_of(count, [&](int64_t i, int lanes) { return load_lanes(x + i, lanes); }) / n;
  const float variance = sum_of(count, [&](int64_t i, int lanes) {
    const Vec d = sub(load_lanes(x + i, lanes), set1(mean));
    return mul(d, d);
  }) / n;
  float inverse[kLanes];
  store(inverse, div(set1(1.0f), sqrt(set1(variance + epsilon))));
  return {mean, inverse[0]};
}

static void layer_norm_row(const LayerNormRow& row, float* y) {
  const Moments m = moments(row.x, row.epsilon, row.count);
  for_vectors(row.count, [&](int64_t i, int n) {
    Vec v = mul(sub(load_lanes(row.x + i, n), set1(m.mean)), set1(m.inverse));
    if (row.gain != nullptr) v = mul(v, load_lanes(row.gain + i, n));
    if (row.bias != nullptr) v = add(v, load_lanes(row.bias + i, n));
    store_lanes(y + i, v, n);
  });
}

static void rope_row(const RopeHeads& heads, float* x) {
  const int64_t half = heads.rotary / 2;
  const float* angles = heads.angles;
  const float* cosine = angles;
  const float* sine = angles + half;
  for (int64_t head = 0; head < heads.count; ++head, x += heads.dim) {
    for_vectors(half, [&](int64_t i, int n) {
      const Vec a = load_lanes(x + i, n);
      const Vec b = load_lanes(x + half + i, n);
      const Vec c = load_lanes(cosine + i, n);
      const Vec s = load_lanes(sine + i, n);
      store_lanes(x + i, fnma(b, s, mul(a, c)), n);
      store_lanes(x + half + i, fma(a, s, mul(b, c)), n);
    });
  }
}

static void widen_bf16_row(const uint16_t* x, float* y, int64_t count) {
  for_vectors(count, [&](int64_t i, int n) { store_lanes(y + i, load_lanes(x + i, n), n); });
}

static void narrow_bf16_row(const float* x, uint16_t* y, int64_t count) {
  for_vectors(count, [&](int64_t i, int n) {
    if (n == kLanes) {
      store_bf16(y + i, load(x + i));
    } else {
      uint16_t rounded[kLanes];
      store_bf16(rounded, load_partial(x + i, n));
      for (int j = 0; j < n; ++j) y[i + j] = rounded[j];
    }
  });
}

static float max_row(const float* x, int64_t count) {
  const Vec lowest = set1(-__builtin_inff());
  Vec sum = lowest;
  for_vectors(count, [&](int64_t i, int n) {
    const Vec v = load_lanes(x + i, n);
    sum = max(n == kLanes ? v : select_range(v, lowest, 0, n), sum);  // NaN: max keeps its second operand
  });
  return reduce_max(sum);
}

static float sum_exp_row(const float* x, float shift, int64_t count) {
  Vec sum = zero();
  for_vectors(count, [&](int64_t i, int n) {
    const Vec e = exp(sub(load_lanes(x + i, n), set1(shift)));
    sum = add(sum, n == kLanes ? e : select_range(e, zero(), 0, n));
  });
  return reduce_add(sum);
}

static int64_t argmax_row(const float* x, int64_t count) {
  const float largest = max_row(x, count);
  if (largest == -__builtin_inff()) return 0;  // every entry counts as -inf
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const int lane = first_at_least(load(x + i), set1(largest));
    if (lane >= 0) return i + lane;
  }
  for (; i < count; ++i) {
    if (x[i] >= largest) return i;
  }
  return 0;  // not reached: the largest entry is one of them
}

}  // namespace umbel::kernels::UMBEL_TARGET
