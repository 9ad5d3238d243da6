#include "kernels/quantised.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/frozen_matrix.h"

namespace umbel::kernels {
namespace {

std::vector<float> waves(int64_t count) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i) * 0.37f) * (1.0f + static_cast<float>(i % 11));
  return values;
}

TEST(Nf4, EveryLevelIsItsOwnCodeAndTiesGoDown) {
  for (int code = 0; code < 16; ++code) EXPECT_EQ(nf4_code(kNf4Levels[code]), code);
  EXPECT_EQ(nf4_code(-2.0f), 0);
  EXPECT_EQ(nf4_code(2.0f), 15);
  // The published thresholds (bitsandbytes): a value on one stays below, the next float above it moves up.
  constexpr float kThresholds[] = {-.8480964f,    -.6106329263f, -.4599952698f, -.3396794349f, -.2346074060f,
                                   -.1379117332f, -.0455250181f, .0397901498f,  .1202552505f,  .2035212517f,
                                   .2920137718f,  .3893125355f,  .5016634166f,  .6427869201f,  .8614784181f};
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(nf4_code(kThresholds[i] - 1e-6f), i);
    EXPECT_EQ(nf4_code(kThresholds[i] + 1e-6f), i + 1);
  }
}

TEST(Nf4, RowsReadBackAsLevelTimesAbsmaxOfTheirBlock) {
  const int64_t out = 37;
  const int64_t in = 192;
  const std::vector<float> values = waves(out * in);
  const FrozenMatrix matrix = FrozenMatrix::quantise({DType::kF32, {out, in}, values.data()}, Quantisation::kNf4).value();
  EXPECT_EQ(matrix.bytes(), 2u * (in * 16 + in / 64 * 128));
  std::vector<float> row(in);
  for (int64_t o = 0; o < out; ++o) {
    matrix.read_row(o, row.data());
    for (int64_t block = 0; block < in; block += kNf4Block) {
      float absmax = 0;
      for (int64_t k = block; k < block + kNf4Block; ++k) absmax = std::max(absmax, std::fabs(values[o * in + k]));
      for (int64_t k = block; k < block + kNf4Block; ++k) {
        ASSERT_EQ(row[k], kNf4Levels[nf4_code(values[o * in + k] * (1.0f / absmax))] * absmax);
        ASSERT_LE(std::fabs(row[k] - values[o * in + k]), 0.153f * absmax);  // half the widest gap between levels
      }
    }
  }
}

TEST(Nf4, RefusesRowsThatABlockWouldCross) {
  const std::vector<float> values = waves(2 * 70);
  const Result<FrozenMatrix> matrix = FrozenMatrix::quantise({DType::kF32, {2, 70}, values.data()}, Quantisation::kNf4);
  EXPECT_EQ(matrix.status().code(), Code::kUnsupported);
}

TEST(Int8, RowsReadBackWithinHalfAStep) {
  const int64_t out = 33;
  const int64_t in = 77;
  std::vector<float> values = waves(out * in);
  for (int64_t k = 0; k < in; ++k) values[5 * in + k] = 0;  // a row of zeros stays zero
  const FrozenMatrix matrix = FrozenMatrix::quantise({DType::kF32, {out, in}, values.data()}, Quantisation::kInt8).value();
  EXPECT_EQ(matrix.bytes(), 2u * (in * 32 + 128));
  std::vector<float> row(in);
  for (int64_t o = 0; o < out; ++o) {
    matrix.read_row(o, row.data());
    float absmax = 0;
    for (int64_t k = 0; k < in; ++k) absmax = std::max(absmax, std::fabs(values[o * in + k]));
    for (int64_t k = 0; k < in; ++k) ASSERT_LE(std::fabs(row[k] - values[o * in + k]), absmax / 127 * 0.5001f);
  }
}

}  // namespace
}  // namespace umbel::kernels
