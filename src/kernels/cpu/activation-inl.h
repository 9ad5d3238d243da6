// Activations, gated or not, and the soft cap. table.h says what each does.
//
// The tanh forms go through exp: z (1 + tanh u) / 2 = z / (1 + exp(-2u)). The erf form goes through
//   erfc(s) = exp(-s^2) t P(t), t = 1 / (1 + s / 2), s >= 0
// with P of degree 8, minimax for the relative error (own fit, 4.4e-8; 3.1e-7 in f32), so that the far negative side keeps its
// digits.
namespace umbel::kernels::UMBEL_TARGET {

UMBEL_INLINE Vec sigmoid(Vec z) { return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), z)))); }

constexpr float kGeluSlope = 0.7978845608f;  // sqrt(2 / pi)
constexpr float kGeluCube = 0.044715f;

// 2 u of the tanh form.
UMBEL_INLINE Vec gelu_argument(Vec z) {
  return mul(set1(2.0f * kGeluSlope), mul(z, fma(set1(kGeluCube), mul(z, z), set1(1.0f))));
}

// What share of z the erf form lets through: (1 + erf(z / sqrt 2)) / 2; and exp(-z^2 / 2).
struct GeluShare {
  Vec share;
  Vec bell;
};
UMBEL_INLINE GeluShare gelu_share(Vec z) {
  const Vec size = max(z, sub(zero(), z));
  const Vec bell = exp(mul(set1(-0.5f), mul(z, z)));
  const Vec t = div(set1(1.0f), fma(set1(0.35355339f), size, set1(1.0f)));  // 1 / (1 + |z| / (2 sqrt 2))
  Vec p = set1(-0.05919092f);
  p = fma(p, t, set1(0.28517205f));
  p = fma(p, t, set1(-0.4884403f));
  p = fma(p, t, set1(0.27949068f));
  p = fma(p, t, set1(-0.02760921f));
  p = fma(p, t, set1(0.20310418f));
  p = fma(p, t, set1(0.24299802f));
  p = fma(p, t, set1(0.28238988f));
  p = fma(p, t, set1(0.28208559f));
  const Vec below = mul(mul(set1(0.5f), bell), mul(t, p));  // of -|z|
  const Vec above = sub(set1(1.0f), below);
  const Vec negative = min(set1(1.0f), max(mul(z, set1(-__builtin_inff())), zero()));  // 1 where z < 0, else 0
  return {fma(negative, below, mul(sub(set1(1.0f), negative), above)), bell};
}

template <Activation kKind>
UMBEL_INLINE Vec activated(Vec z) {
  if constexpr (kKind == Activation::kSilu) return div(z, add(set1(1.0f), exp(sub(zero(), z))));
  if constexpr (kKind == Activation::kGeluTanh) return div(z, add(set1(1.0f), exp(sub(zero(), gelu_argument(z)))));
  if constexpr (kKind == Activation::kGelu) return mul(z, gelu_share(z).share);
  if constexpr (kKind == Activation::kRelu) return max(zero(), z);
}

template <Activation kKind>
UMBEL_INLINE Vec activation_slope(Vec z) {
  const Vec one = set1(1.0f);
  if constexpr (kKind == Activation::kSilu) {
    const Vec s = sigmoid(z);
    return mul(s, fma(z, sub(one, s), one));
  }
  if constexpr (kKind == Activation::kGeluTanh) {
    const Vec s = sigmoid(gelu_argument(z));
    const Vec inner = mul(set1(2.0f * kGeluSlope), fma(set1(3.0f * kGeluCube), mul(z, z), one));
    return fma(mul(mul(z, s), sub(one, s)), inner, s);
  }
  if constexpr (kKind == Activation::kGelu) {
    const GeluShare g = gelu_share(z);
    return fma(mul(z, g.bell), set1(0.3989422804f), g.share);
  }
  // 1 where z > 0: the smallest positive number times 2^126 and more is at least 1.
  if constexpr (kKind == Activation::kRelu) return min(one, mul(mul(max(z, zero()), set1(0x1p126f)), set1(0x1p24f)));
}

template <Activation kKind>
static void activation_row(const float* gate, const float* up, float* y, int64_t count) {
  if (up == nullptr) {
    for_vectors(count, [&](int64_t i, int n) { store_lanes(y + i, activated<kKind>(load_lanes(gate + i, n)), n); });
    return;
  }
  for_vectors(count, [&](int64_t i, int n) {
    store_lanes(y + i, mul(activated<kKind>(load_lanes(gate + i, n)), load_lanes(up + i, n)), n);
  });
}

// cap tanh(x / cap) of one vector, inverse = 1 / cap.
UMBEL_INLINE Vec soft_capped(Vec x, float cap, float inverse) {
  const Vec e = exp(mul(set1(-2.0f * inverse), max(x, sub(zero(), x))));
  const Vec size = mul(set1(cap), div(sub(set1(1.0f), e), add(set1(1.0f), e)));
  return max(min(x, size), sub(zero(), size));  // |result| = size <= |x|, with the sign of x
}

static void soft_cap_row(float cap, float* x, int64_t count) {
  const float inverse = 1.0f / cap;
  for_vectors(count, [&](int64_t i, int n) { store_lanes(x + i, soft_capped(load_lanes(x + i, n), cap, inverse), n); });
}

}  // namespace umbel::kernels::UMBEL_TARGET
