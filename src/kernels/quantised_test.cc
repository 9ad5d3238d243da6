#include "kernels/quantised.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/frozen_matrix.h"
#include "kernels/matmul_table.h"

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
  const FrozenMatrix matrix = FrozenMatrix::quantise({DType::kF32, {out, in}, values.data()}, Quantisation::kNf4, {}).value();
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
  for (const Quantisation form : {Quantisation::kNf4, Quantisation::kNf4Dq}) {
    const Result<FrozenMatrix> matrix = FrozenMatrix::quantise({DType::kF32, {2, 70}, values.data()}, form, {});
    EXPECT_EQ(matrix.status().code(), Code::kUnsupported);
  }
}

TEST(Quantise, RefusesWhatIsNotFinite) {
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::vector<float> values = waves(40 * 64);
    values[39 * 64 + 5] = bad;
    for (const Quantisation form : {Quantisation::kInt8, Quantisation::kNf4, Quantisation::kNf4Dq}) {
      EXPECT_EQ(FrozenMatrix::quantise({DType::kF32, {40, 64}, values.data()}, form, {}).status().code(), Code::kDataLoss);
    }
  }
}

TEST(Quantise, ThreadsDoNotChangeTheBytes) {
  const int64_t out = 300;
  const int64_t in = 192;
  const std::vector<float> values = waves(out * in);
  ThreadPool pool(2);
  for (const Quantisation form : {Quantisation::kInt8, Quantisation::kNf4, Quantisation::kNf4Dq}) {
    const FrozenMatrix alone = FrozenMatrix::quantise({DType::kF32, {out, in}, values.data()}, form, {}).value();
    const FrozenMatrix shared = FrozenMatrix::quantise({DType::kF32, {out, in}, values.data()}, form, {}, &pool).value();
    ASSERT_EQ(alone.bytes(), shared.bytes());
    EXPECT_EQ(std::memcmp(alone.packed(), shared.packed(), alone.bytes()), 0) << quantisation_name(form);
  }
}

TEST(DoubleQuantisation, LevelsAreSevenDecadesAndTheirMirror) {
  const std::array<float, 256>& levels = absmax_levels();
  EXPECT_EQ(levels[255], 1.0f);
  EXPECT_EQ(levels[127], 0.0f);
  EXPECT_FLOAT_EQ(levels[0], -0.99296874f);
  EXPECT_FLOAT_EQ(levels[254], 0.99296874f);
  EXPECT_FLOAT_EQ(levels[128], 5.5e-7f);
  for (int i = 0; i < 127; ++i) EXPECT_EQ(levels[i], -levels[254 - i]);
  for (int i = 1; i < 256; ++i) EXPECT_LT(levels[i - 1], levels[i]);
}

TEST(DoubleQuantisation, CodesAreTheNearestLevelsUpToTheGrid) {
  EXPECT_EQ(absmax_code(1.0f), 255);
  EXPECT_EQ(absmax_code(2.0f), 255);
  EXPECT_EQ(absmax_code(-2.0f), 0);
  const std::array<float, 256>& levels = absmax_levels();
  constexpr float kGrid = 1.01f / 65535.0f;  // half the distance of its points, and rounding
  for (int i = -5000; i <= 5000; ++i) {
    const float value = static_cast<float>(i) / 5000.0f;
    float nearest = 2;
    for (const float level : levels) nearest = std::min(nearest, std::fabs(level - value));
    EXPECT_LE(std::fabs(levels[absmax_code(value)] - value), nearest + 2 * kGrid) << value;
  }
}

TEST(DoubleQuantisation, AbsmaxReadsBackAsLevelTimesLargestPlusMean) {
  const int64_t out = 70;  // 70 x 5 blocks: the second 256 begin inside a row, the last panel has 6 outputs
  const int64_t in = 320;
  const int64_t blocks = in / kNf4Block;
  std::vector<float> values = waves(out * in);
  for (int64_t k = 0; k < 64; ++k) values[9 * in + k] = 0;  // a block of zeros stays zero
  const TensorView view{DType::kF32, {out, in}, values.data()};
  const FrozenMatrix plain = FrozenMatrix::quantise(view, Quantisation::kNf4, {}).value();
  const FrozenMatrix nested = FrozenMatrix::quantise(view, Quantisation::kNf4Dq, {}).value();
  EXPECT_EQ(nested.bytes(), 3u * (in * 16 + blocks * 32) + 2 * 4);
  std::vector<float> absmax(out * blocks);
  double sum = 0;
  for (int64_t o = 0; o < out; ++o) {
    float lanes[kPanel];
    for (int64_t b = 0; b < blocks; ++b) {
      plain.read_absmax(o / kPanel, b, lanes);
      sum += absmax[o * blocks + b] = lanes[o % kPanel];
    }
  }
  const float mean = static_cast<float>(sum / static_cast<double>(absmax.size()));
  std::vector<float> row(in), plain_row(in);
  for (int64_t o = 0; o < out; ++o) {
    nested.read_row(o, row.data());
    plain.read_row(o, plain_row.data());
    for (int64_t k = 0; k < in; ++k) {
      const int64_t index = o * blocks + k / kNf4Block;
      const int64_t begin = index / kAbsmaxBlock * kAbsmaxBlock;
      float largest = 0;
      for (int64_t i = begin; i < std::min<int64_t>(absmax.size(), begin + kAbsmaxBlock); ++i) {
        largest = std::max(largest, std::fabs(absmax[i] - mean));
      }
      const float scale = absmax_levels()[absmax_code((absmax[index] - mean) * (1.0f / largest))] * largest + mean;
      const int code = nf4_code(values[o * in + k] * (1.0f / std::max(absmax[index], 1e-38f)));
      ASSERT_EQ(row[k], kNf4Levels[code] * scale) << o << " " << k;
      ASSERT_EQ(plain_row[k], kNf4Levels[code] * absmax[index]);
    }
  }
  float lanes[kPanel];
  nested.clone().read_row(69, plain_row.data());
  EXPECT_EQ(plain_row, row);
  nested.read_absmax(2, 0, lanes);
  for (int64_t lane = out % kPanel; lane < kPanel; ++lane) EXPECT_EQ(lanes[lane], 0.0f);  // outputs that do not exist
}

TEST(Int8, RowsReadBackWithinHalfAStep) {
  const int64_t out = 33;
  const int64_t in = 77;
  std::vector<float> values = waves(out * in);
  for (int64_t k = 0; k < in; ++k) values[5 * in + k] = 0;  // a row of zeros stays zero
  const FrozenMatrix matrix = FrozenMatrix::quantise({DType::kF32, {out, in}, values.data()}, Quantisation::kInt8, {}).value();
  EXPECT_EQ(matrix.bytes(), 2u * ((in + 3) * 32 + 128));
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
