#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace umbel {
namespace {

bool is_nan_f16(uint16_t bits) { return (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0; }
bool is_nan_bf16(uint16_t bits) { return (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0; }

// The value of binary16 from its definition in IEEE 754, in double.
double f16_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(DType, EveryF16WidensToItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float wide = to_f32(F16{static_cast<uint16_t>(bits)});
    if (is_nan_f16(bits)) {
      EXPECT_TRUE(std::isnan(wide));
      EXPECT_TRUE(is_nan_f16(to_f16(wide).bits));
      continue;
    }
    ASSERT_EQ(static_cast<double>(wide), f16_value(bits)) << bits;
    ASSERT_EQ(std::signbit(wide), (bits & 0x8000) != 0) << bits;
    ASSERT_EQ(to_f16(wide).bits, bits);
  }
}

TEST(DType, EveryBf16WidensToItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float wide = to_f32(BF16{static_cast<uint16_t>(bits)});
    ASSERT_EQ(std::bit_cast<uint32_t>(wide), bits << 16);
    if (is_nan_bf16(bits)) {
      EXPECT_TRUE(is_nan_bf16(to_bf16(wide).bits));
    } else {
      ASSERT_EQ(to_bf16(wide).bits, bits);
    }
  }
}

// Between any two neighbours: below the middle goes down, above goes up, the middle goes to the even one.
template <typename Half, typename Narrow>
void check_rounding(uint16_t largest_finite, Narrow narrow) {
  for (uint32_t bits = 0; bits < largest_finite; ++bits) {
    const float low = to_f32(Half{static_cast<uint16_t>(bits)});
    const float high = to_f32(Half{static_cast<uint16_t>(bits + 1)});
    const float middle = static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    for (uint32_t sign : {0u, 0x8000u}) {
      const float factor = sign ? -1.0f : 1.0f;
      ASSERT_EQ(narrow(factor * middle).bits, even | sign) << bits;
      ASSERT_EQ(narrow(factor * std::nextafter(middle, 0.0f)).bits, bits | sign) << bits;
      ASSERT_EQ(narrow(factor * std::nextafter(middle, INFINITY)).bits, (bits + 1) | sign) << bits;
    }
  }
}

TEST(DType, F16RoundsToNearestTiesToEven) {
  check_rounding<F16>(0x7bff, [](float value) { return to_f16(value); });
  EXPECT_EQ(to_f16(65519.99f).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(to_f16(-INFINITY).bits, 0xfc00);
  EXPECT_EQ(to_f16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(to_f16(0x1.0p-25f).bits, 0);
  EXPECT_EQ(to_f16(0x1.000002p-25f).bits, 1);
}

TEST(DType, Bf16RoundsToNearestTiesToEven) {
  check_rounding<BF16>(0x7f7f, [](float value) { return to_bf16(value); });
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(to_bf16(INFINITY).bits, 0x7f80);
  const float nan_with_low_bits_only = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(is_nan_bf16(to_bf16(nan_with_low_bits_only).bits));
}

TEST(DType, NamesAndSizes) {
  const DType all[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI64,
                       DType::kI32, DType::kI16,  DType::kI8,  DType::kU8,  DType::kBool};
  for (DType dtype : all) EXPECT_EQ(parse_dtype(dtype_name(dtype)).value(), dtype);
  EXPECT_EQ(size_of(DType::kF64), 8u);
  EXPECT_EQ(size_of(DType::kF32), 4u);
  EXPECT_EQ(size_of(DType::kBF16), 2u);
  EXPECT_EQ(size_of(DType::kBool), 1u);
  EXPECT_EQ(parse_dtype("torch.bfloat16").value(), DType::kBF16);
  EXPECT_EQ(parse_dtype("float32").value(), DType::kF32);
  EXPECT_EQ(parse_dtype("BF16").value(), DType::kBF16);
  for (const char* bad : {"", "F8_E4M3", "torch.", "float8", "f32 "}) EXPECT_FALSE(parse_dtype(bad).ok()) << bad;
}

TEST(DType, ArraysConvertUnaligned) {
  Random random(2);
  std::vector<float> values(37);
  for (float& value : values) value = static_cast<float>(random.next_normal());
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    std::vector<char> stored(values.size() * size_of(dtype) + 1);
    narrow_from_f32(values.data(), dtype, stored.data() + 1, values.size());
    std::vector<float> back(values.size());
    widen_to_f32(dtype, stored.data() + 1, back.data(), back.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const float expected = dtype == DType::kF32    ? values[i]
                             : dtype == DType::kBF16 ? to_f32(to_bf16(values[i]))
                                                     : to_f32(to_f16(values[i]));
      EXPECT_EQ(back[i], expected);
    }
  }
  const double wide[] = {1.5, 1e300};
  float narrow[2];
  widen_to_f32(DType::kF64, wide, narrow, 2);
  EXPECT_EQ(narrow[0], 1.5f);
  EXPECT_EQ(narrow[1], INFINITY);
}

}  // namespace
}  // namespace umbel
