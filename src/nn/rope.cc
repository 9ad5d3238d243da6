#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace umbel {
namespace {

constexpr int64_t kRowsPerTask = 16;
constexpr int64_t kHalfDimMax = 1024;  // models/config refuses larger heads

// 1 / theta^(2i/d). theta itself is rounded to f32 first, as a scalar base of an f32 power is in torch.
float inverse_frequency(float theta, int64_t i, int64_t head_dim) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
  return 1.0f / std::pow(theta, exponent);
}

double yarn_scale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

float yarn_attention_factor(const RopeConfig& c) {
  if (c.attention_factor) return static_cast<float>(*c.attention_factor);
  if (c.mscale.value_or(0) != 0 && c.mscale_all_dim.value_or(0) != 0) {
    return static_cast<float>(yarn_scale(c.factor, *c.mscale) / yarn_scale(c.factor, *c.mscale_all_dim));
  }
  return static_cast<float>(yarn_scale(c.factor, 1.0));
}

// The dimension that turns `rotations` times over the original context.
double yarn_dimension(const RopeConfig& c, double rotations, int64_t head_dim) {
  const double original = static_cast<double>(c.original_max_position_embeddings);
  return static_cast<double>(head_dim) * std::log(original / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(c.theta));
}

void yarn(const RopeConfig& c, int64_t head_dim, std::span<float> inv) {
  double low = yarn_dimension(c, c.beta_fast, head_dim);
  double high = yarn_dimension(c, c.beta_slow, head_dim);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;
  const float begin = static_cast<float>(low);
  const float width = static_cast<float>(high - low);
  for (size_t i = 0; i < inv.size(); ++i) {
    const float power = std::pow(static_cast<float>(c.theta), static_cast<float>(2 * i) / static_cast<float>(head_dim));
    const float kept = 1.0f - std::clamp((static_cast<float>(i) - begin) / width, 0.0f, 1.0f);
    const float slow = 1.0f / (static_cast<float>(c.factor) * power);
    inv[i] = slow * (1.0f - kept) + (1.0f / power) * kept;
  }
}

float longrope_attention_factor(const RopeConfig& c) {
  if (c.attention_factor) return static_cast<float>(*c.attention_factor);
  if (c.factor <= 1) return 1.0f;
  return static_cast<float>(std::sqrt(1 + std::log(c.factor) / std::log(static_cast<double>(c.original_max_position_embeddings))));
}

// 1 / (factor_i theta^(2i/d)).
void longrope(const std::vector<double>& factors, float theta, std::span<float> inv) {
  const auto dims = static_cast<float>(2 * inv.size());
  for (size_t i = 0; i < inv.size(); ++i) {
    inv[i] = 1.0f / (static_cast<float>(factors[i]) * std::pow(theta, static_cast<float>(2 * i) / dims));
  }
}

void llama3(const RopeConfig& c, std::span<float> inv) {
  const float factor = static_cast<float>(c.factor);
  const double original = static_cast<double>(c.original_max_position_embeddings);
  const float longest = static_cast<float>(original / c.low_freq_factor);
  const float shortest = static_cast<float>(original / c.high_freq_factor);
  for (float& f : inv) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / f;
    if (wavelength > longest) {
      f /= factor;
    } else if (wavelength >= shortest) {
      const float smooth = (static_cast<float>(original) / wavelength - static_cast<float>(c.low_freq_factor)) /
                           static_cast<float>(c.high_freq_factor - c.low_freq_factor);
      f = (1.0f - smooth) * f / factor + smooth * f;
    }
  }
}

}  // namespace

Rope::Rope(const RopeConfig& config, int64_t head_dim) : config_(config), head_dim_(head_dim) {
  CHECK(head_dim % 2 == 0 && head_dim / 2 <= kHalfDimMax, "RoPE turns an even number of dimensions");
  if (config_.type == RopeType::kYarn) attention_factor_ = yarn_attention_factor(config_);
  if (config_.type == RopeType::kLongrope) attention_factor_ = longrope_attention_factor(config_);
  inverse_.resize(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < inverse_.size(); ++i) {
    inverse_[i] = inverse_frequency(static_cast<float>(config_.theta), static_cast<int64_t>(i), head_dim);
  }
  if (config_.type == RopeType::kYarn) yarn(config_, head_dim, inverse_);
  if (config_.type == RopeType::kLlama3) llama3(config_, inverse_);
  if (config_.type == RopeType::kLongrope) longrope(config_.short_factor, static_cast<float>(config_.theta), inverse_);
  if (config_.type == RopeType::kLinear) {
    for (float& f : inverse_) f /= static_cast<float>(config_.factor);
  }
}

void Rope::frequencies(int64_t length, std::span<float> inv) const {
  const int64_t original = config_.original_max_position_embeddings;
  if (!config_.by_length() || length <= original) {
    std::copy(inverse_.begin(), inverse_.end(), inv.begin());
    return;
  }
  if (config_.type == RopeType::kLongrope) return longrope(config_.long_factor, static_cast<float>(config_.theta), inv);
  const double longer = static_cast<double>(length) / static_cast<double>(original);
  const double growth = config_.factor * longer - (config_.factor - 1);
  const double power = static_cast<double>(head_dim_) / static_cast<double>(head_dim_ - 2);
  const float theta = static_cast<float>(config_.theta * std::pow(growth, power));
  for (size_t i = 0; i < inv.size(); ++i) inv[i] = inverse_frequency(theta, static_cast<int64_t>(i), head_dim_);
}

void Rope::angles(kernels::Context& context, std::span<const int32_t> positions, std::span<const int32_t> lengths,
                  MatrixF out) const {
  const int64_t half = head_dim_ / 2;
  const int64_t rows = static_cast<int64_t>(positions.size());
  context.pool.parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    float grown[kHalfDimMax];
    const float* inverse = inverse_.data();
    int32_t length = 0;  // that `grown` belongs to
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; ++row) {
      if (config_.by_length() && lengths[row] != length) {
        length = lengths[row];
        frequencies(length, {grown, static_cast<size_t>(half)});
        inverse = grown;
      }
      float* cosine = out.row(row);
      for (int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions[row]) * inverse[i];
        cosine[i] = std::cos(angle) * attention_factor_;
        cosine[half + i] = std::sin(angle) * attention_factor_;
      }
    }
  });
}

}  // namespace umbel
