// Blockwise 8-bit numbers for optimizer moments: every block of kStateBlock values is scaled by its largest magnitude, and each
// value stored as the code of the nearest entry of a dynamic map: a number whose leading zeros choose a power of ten and whose
// other bits are a linear fraction, so that codes are dense where moments are small (Dettmers et al. 2022, arXiv 2110.02861,
// section 2; code values are those of bitsandbytes' create_dynamic_map).
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace umbel::train {

inline constexpr int64_t kStateBlock = 256;

// Immutable; any thread.
class DynamicMap {
 public:
  // 256 ascending values in [-1, 1], or in [0, 1] when unsigned.
  explicit DynamicMap(bool is_signed);

  const std::array<float, 256>& values() const { return values_; }
  // The code of the nearest value; of two equally near ones, the lower. x in [-1, 1]; NaN gives the code of 0.
  uint8_t smallest_positive() const { return smallest_positive_; }
  uint8_t nearest(float x) const {
    const uint32_t bits = bits_of(x);
    const uint8_t code = first_[bits >> 16];
    return static_cast<uint8_t>(code + (x > middles_[code]));
  }

 private:
  static uint32_t bits_of(float x);

  std::array<float, 256> values_;
  uint8_t smallest_positive_ = 0;
  std::array<float, 256> middles_;  // between value i and i + 1; the last is infinite
  // By the upper half of x's bits: the code nearest to the lowest such x. No two middles share an upper half (checked).
  std::array<uint8_t, 65536> first_;
};

// The two maps, made once. Signed for means of gradients, unsigned for means of squares.
const DynamicMap& signed_map();
const DynamicMap& unsigned_map();

// One block, at most kStateBlock values. A block of zeros has absmax 0 and gives zeros back.
void dequantise_block(const DynamicMap& map, std::span<const uint8_t> codes, float absmax, float* values);
// Returns the block's absmax. A positive number never becomes zero: a mean of squares that did would blow up the next step.
float quantise_block(const DynamicMap& map, std::span<const float> values, uint8_t* codes);

}  // namespace umbel::train
