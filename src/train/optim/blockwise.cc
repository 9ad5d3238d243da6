#include "train/optim/blockwise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"

namespace umbel::train {
namespace {

constexpr int kDecades = 7;

// The middles of `count` equal parts of [0.1, 1], times 10^(decade - 6): what `decade` leading bits leave room for.
void add_decade(int decade, int count, bool is_signed, std::vector<float>& values) {
  const double power = std::pow(10.0, decade - (kDecades - 1));
  for (int i = 0; i < count; ++i) {
    const double middle = 0.1 + 0.9 * (i + 0.5) / count;
    values.push_back(static_cast<float>(power * middle));
    if (is_signed) values.push_back(static_cast<float>(-power * middle));
  }
}

}  // namespace

uint32_t DynamicMap::bits_of(float x) { return std::bit_cast<uint32_t>(x); }

DynamicMap::DynamicMap(bool is_signed) {
  std::vector<float> values = {0.0f, 1.0f};
  for (int decade = 0; decade < kDecades; ++decade) add_decade(decade, (is_signed ? 1 : 2) << decade, is_signed, values);
  CHECK(values.size() == values_.size(), "a dynamic map has 256 values");
  std::sort(values.begin(), values.end());
  std::copy(values.begin(), values.end(), values_.begin());
  for (size_t i = 0; i + 1 < values_.size(); ++i) middles_[i] = 0.5f * (values_[i] + values_[i + 1]);
  while (values_[smallest_positive_] <= 0) ++smallest_positive_;
  middles_.back() = std::numeric_limits<float>::infinity();
  for (uint32_t upper = 0; upper < first_.size(); ++upper) {
    const uint32_t low_bits = upper << 16, high_bits = low_bits | 0xffffu;
    float low = std::bit_cast<float>(low_bits), high = std::bit_cast<float>(high_bits);
    if (low > high) std::swap(low, high);  // negative numbers
    if (std::isnan(low) || std::isnan(high)) low = high = 0.0f;
    const auto code = [&](float x) { return std::lower_bound(middles_.begin(), middles_.end(), x) - middles_.begin(); };
    first_[upper] = static_cast<uint8_t>(code(low));
    CHECK(code(high) - code(low) <= 1, "two middles of a dynamic map share their upper halves");
  }
}

const DynamicMap& signed_map() {
  static const DynamicMap map(true);
  return map;
}
const DynamicMap& unsigned_map() {
  static const DynamicMap map(false);
  return map;
}

void dequantise_block(const DynamicMap& map, std::span<const uint8_t> codes, float absmax, float* values) {
  for (size_t i = 0; i < codes.size(); ++i) values[i] = map.values()[codes[i]] * absmax;
}

float quantise_block(const DynamicMap& map, std::span<const float> values, uint8_t* codes) {
  float absmax = 0;
  for (const float value : values) absmax = std::max(absmax, std::fabs(value));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint8_t code = map.nearest(absmax > 0 ? values[i] / absmax : 0.0f);
    codes[i] = values[i] > 0 ? std::max(code, map.smallest_positive()) : code;
  }
  return absmax;
}

}  // namespace umbel::train
