#include "tensor/dtype.h"

#include <cstring>
#include <string>

namespace umbel {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64: return 8;
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kBF16:
    case DType::kF16:
    case DType::kI16: return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kBool: return 1;
  }
  return 0;
}

std::string_view dtype_name(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "bf16", "f16", "f64", "i64", "i32", "i16", "i8", "u8", "bool"};
  return kNames[static_cast<int>(dtype)];
}

Result<DType> parse_dtype(std::string_view name) {
  struct Entry {
    std::string_view name;
    DType dtype;
  };
  constexpr Entry kEntries[] = {
      {"f32", DType::kF32},  {"F32", DType::kF32},   {"float32", DType::kF32},    {"float", DType::kF32},
      {"bf16", DType::kBF16}, {"BF16", DType::kBF16}, {"bfloat16", DType::kBF16},  {"f16", DType::kF16},
      {"F16", DType::kF16},  {"float16", DType::kF16}, {"half", DType::kF16},      {"f64", DType::kF64},
      {"F64", DType::kF64},  {"I64", DType::kI64},   {"i64", DType::kI64},        {"I32", DType::kI32},
      {"i32", DType::kI32},  {"I16", DType::kI16},   {"i16", DType::kI16},        {"I8", DType::kI8},
      {"i8", DType::kI8},    {"U8", DType::kU8},     {"u8", DType::kU8},          {"BOOL", DType::kBool},
      {"bool", DType::kBool}};
  constexpr std::string_view kTorchPrefix = "torch.";
  if (name.starts_with(kTorchPrefix)) name.remove_prefix(kTorchPrefix.size());
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.dtype;
  }
  return invalid_argument("unknown element type \"" + std::string(name) + "\" (known: f32, bf16, f16)");
}

float to_f32(F16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  uint32_t fraction = value.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1.0p-24f;  // subnormal or zero, exact
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

F16 to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds past 65504
  if (magnitude < 0x38800000u) {  // subnormal in f16: let f32 addition round to the grid of 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0x1.0p-1f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

void widen_to_f32(DType dtype, const void* source, float* target, size_t count) {
  const char* bytes = static_cast<const char*>(source);
  if (dtype == DType::kF32) {
    std::memcpy(target, source, count * sizeof(float));
    return;
  }
  if (dtype == DType::kF64) {
    for (size_t i = 0; i < count; ++i) {
      double wide;
      std::memcpy(&wide, bytes + 8 * i, 8);
      target[i] = static_cast<float>(wide);
    }
    return;
  }
  CHECK(dtype == DType::kBF16 || dtype == DType::kF16, "only float types widen to f32");
  for (size_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + 2 * i, 2);
    target[i] = dtype == DType::kBF16 ? to_f32(BF16{bits}) : to_f32(F16{bits});
  }
}

void narrow_from_f32(const float* source, DType dtype, void* target, size_t count) {
  if (dtype == DType::kF32) {
    std::memcpy(target, source, count * sizeof(float));
    return;
  }
  CHECK(dtype == DType::kBF16 || dtype == DType::kF16, "f32 narrows to bf16 or f16 only");
  for (size_t i = 0; i < count; ++i) {
    const uint16_t bits = dtype == DType::kBF16 ? to_bf16(source[i]).bits : to_f16(source[i]).bits;
    std::memcpy(static_cast<char*>(target) + 2 * i, &bits, 2);
  }
}

}  // namespace umbel
