// Backward of the row-wise arithmetic (VjpTable in table.h). Matrix-shaped gradients reuse the expand tile.
namespace umbel::kernels::UMBEL_TARGET {

template <bool kAdd>
static void rms_norm_vjp_row(const RmsNormRow& row, const float* dy, float* dx) {
  const float* x = row.x;
  const float n = static_cast<float>(row.count);
  const Vec inverse = div(set1(1.0f), sqrt(set1(dot(x, x, row.count) / n + row.epsilon)));
  const auto scaled = [&](int64_t i, int lanes) {
    const Vec g = load_lanes(dy + i, lanes);
    return row.gain == nullptr ? g : mul(g, load_lanes(row.gain + i, lanes));
  };
  Vec sum[2] = {zero(), zero()};
  int which = 0;
  for_vectors(row.count, [&](int64_t i, int lanes) {
    sum[which] = fma(scaled(i, lanes), load_lanes(x + i, lanes), sum[which]);
    which ^= 1;
  });
  // dx = inverse g - x inverse^3 mean(g o x)
  const Vec mean = set1(reduce_add(add(sum[0], sum[1])) / n);
  const Vec slope = mul(mul(mul(inverse, inverse), inverse), mean);
  for_vectors(row.count, [&](int64_t i, int lanes) {
    Vec d = fnma(slope, load_lanes(x + i, lanes), mul(scaled(i, lanes), inverse));
    if (kAdd) d = add(load_lanes(dx + i, lanes), d);
    store_lanes(dx + i, d, lanes);
  });
}

static float rms_inverse_row(const float* x, float epsilon, int64_t count) {
  float result[kLanes];
  store(result, div(set1(1.0f), sqrt(set1(dot(x, x, count) / static_cast<float>(count) + epsilon))));
  return result[0];
}

template <bool kAdd>
static void layer_norm_vjp_row(const LayerNormRow& row, const float* dy, float* dx) {
  const float n = static_cast<float>(row.count);
  const Moments m = moments(row.x, row.epsilon, row.count);
  const auto scaled = [&](int64_t i, int lanes) {
    const Vec g = load_lanes(dy + i, lanes);
    return row.gain == nullptr ? g : mul(g, load_lanes(row.gain + i, lanes));
  };
  const auto normed = [&](int64_t i, int lanes) { return mul(sub(load_lanes(row.x + i, lanes), set1(m.mean)), set1(m.inverse)); };
  const Vec mean = set1(sum_of(row.count, scaled) / n);
  const Vec slope = set1(sum_of(row.count, [&](int64_t i, int lanes) { return mul(scaled(i, lanes), normed(i, lanes)); }) / n);
  for_vectors(row.count, [&](int64_t i, int lanes) {
    Vec d = mul(set1(m.inverse), fnma(slope, normed(i, lanes), sub(scaled(i, lanes), mean)));
    if (kAdd) d = add(load_lanes(dx + i, lanes), d);
    store_lanes(dx + i, d, lanes);
  });
}

static Moments moments_row(const float* x, float epsilon, int64_t count) { return moments(x, epsilon, count); }

static void normed_add_row(const float* a, const float* x, const Moments& m, float* y, int64_t count) {
  for_vectors(count, [&](int64_t i, int n) {
    const Vec d = mul(sub(load_lanes(x + i, n), set1(m.mean)), set1(m.inverse));
    store_lanes(y + i, fma(load_lanes(a + i, n), d, load_lanes(y + i, n)), n);
  });
}

template <Activation kKind>
static void activation_vjp_row(const ActivationRow& row, float* dgate, float* dup) {
  for_vectors(row.count, [&](int64_t i, int n) {
    const Vec z = load_lanes(row.gate + i, n);
    const Vec g = load_lanes(row.dy + i, n);
    const Vec slope = activation_slope<kKind>(z);
    if (row.up == nullptr) {
      store_lanes(dgate + i, mul(g, slope), n);
      return;
    }
    const Vec u = load_lanes(row.up + i, n);
    store_lanes(dup + i, mul(g, kKind == Activation::kSilu ? mul(z, sigmoid(z)) : activated<kKind>(z)), n);
    store_lanes(dgate + i, mul(mul(g, u), slope), n);
  });
}

static void soft_cap_vjp_row(float cap, const float* y, float* dx, int64_t count) {
  const Vec inverse = set1(1.0f / cap);
  for_vectors(count, [&](int64_t i, int n) {
    const Vec t = mul(load_lanes(y + i, n), inverse);
    store_lanes(dx + i, mul(load_lanes(dx + i, n), fnma(t, t, set1(1.0f))), n);
  });
}

static void rope_vjp_row(const RopeHeads& heads, float* dx) {
  const int64_t half = heads.rotary / 2;
  const float* angles = heads.angles;
  for (int64_t head = 0; head < heads.count; ++head, dx += heads.dim) {
    for_vectors(half, [&](int64_t i, int n) {
      const Vec a = load_lanes(dx + i, n);
      const Vec b = load_lanes(dx + half + i, n);
      const Vec c = load_lanes(angles + i, n);
      const Vec s = load_lanes(angles + half + i, n);
      store_lanes(dx + i, fma(b, s, mul(a, c)), n);
      store_lanes(dx + half + i, fnma(a, s, mul(b, c)), n);
    });
  }
}

static void product_add_row(const float* a, const float* b, float scale, float* y, int64_t count) {
  for_vectors(count, [&](int64_t i, int n) {
    store_lanes(y + i, fma(mul(load_lanes(a + i, n), load_lanes(b + i, n)), set1(scale), load_lanes(y + i, n)), n);
  });
}

static void weighted_exp_row(const float* x, float shift, float weight, float* y, int64_t count) {
  for_vectors(count, [&](int64_t i, int n) {
    store_lanes(y + i, mul(set1(weight), exp(sub(load_lanes(x + i, n), set1(shift)))), n);
  });
}

static void softmax_scores_row(const float* p, const float* dp, float* y, int64_t count) {
  const Vec mean = set1(dot(p, dp, count));
  for_vectors(count, [&](int64_t i, int n) {
    store_lanes(y + i, mul(load_lanes(p + i, n), sub(load_lanes(dp + i, n), mean)), n);
  });
}

static void transpose_rows(const Block& block, float* y, int64_t y_stride) {
  for (int64_t i = 0; i < block.rows; i += kLanes) {
    const int rows = (int)(block.rows - i < kLanes ? block.rows - i : kLanes);
    for (int64_t j = 0; j < block.cols; j += kLanes) {
      const int cols = (int)(block.cols - j < kLanes ? block.cols - j : kLanes);
      Vec square[kLanes];
      for (int r = 0; r < kLanes; ++r) square[r] = r < rows ? load_lanes(block.x + (i + r) * block.stride + j, cols) : zero();
      transpose(square);
      for (int c = 0; c < cols; ++c) store_lanes(y + (j + c) * y_stride + i, square[c], rows);
    }
  }
}

constexpr VjpTable kVjpTable = {
    .rms_norm = rms_norm_vjp_row<false>,
    .rms_norm_add = rms_norm_vjp_row<true>,
    .rms_inverse = rms_inverse_row,
    .layer_norm = layer_norm_vjp_row<false>,
    .layer_norm_add = layer_norm_vjp_row<true>,
    .moments = moments_row,
    .activation = {activation_vjp_row<Activation::kSilu>, activation_vjp_row<Activation::kGeluTanh>,
                   activation_vjp_row<Activation::kGelu>, activation_vjp_row<Activation::kRelu>},
    .soft_cap = soft_cap_vjp_row,
    .rope = rope_vjp_row,
    .normed_add = normed_add_row,
    .product_add = product_add_row,
    .weighted_exp = weighted_exp_row,
    .softmax_scores = softmax_scores_row,
    .transpose = transpose_rows,
};

}  // namespace umbel::kernels::UMBEL_TARGET
