// Element types and their scalar conversions. bf16 and f16 are storage formats: arithmetic widens them to f32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace umbel {

enum class DType : uint8_t { kF32, kBF16, kF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

size_t size_of(DType dtype);             // bytes per element
std::string_view dtype_name(DType dtype);  // "f32", "bf16", ...
// Accepts our names and those of safetensors ("F32", "BF16", ...), and torch's ("float32", "bfloat16", ...).
Result<DType> parse_dtype(std::string_view name);

// The upper half of an IEEE-754 binary32.
struct BF16 {
  uint16_t bits;
};
// IEEE-754 binary16.
struct F16 {
  uint16_t bits;
};

inline float to_f32(float value) { return value; }
inline float to_f32(BF16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
float to_f32(F16 value);

// Round to nearest, ties to even; NaN stays NaN.
inline BF16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
F16 to_f16(float value);

// count elements of any float type, widened to f32. source may be unaligned.
void widen_to_f32(DType dtype, const void* source, float* target, size_t count);
// f32 rounded to dtype (kF32, kBF16, kF16).
void narrow_from_f32(const float* source, DType dtype, void* target, size_t count);

}  // namespace umbel
