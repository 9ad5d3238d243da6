// NF4 against bitsandbytes' CPU backend (tools/record_nf4_goldens.py), over more than five million numbers: the same codes,
// the same bits read back, and of doubly quantised absmax codes at most one in ten thousand off by one.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>

#include "kernels/frozen_matrix.h"
#include "kernels/matmul_table.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

using kernels::FrozenMatrix;
using kernels::kNf4Block;
using kernels::kNf4Levels;
using kernels::kPanel;
using kernels::Quantisation;

Path folder() { return testing::source_dir() / "tests/goldens/models/nf4"; }

std::string file_bytes(const std::string& name) { return read_file(folder() / name).value(); }

// The i-th SplitMix64 word.
uint64_t word_at(uint64_t key, int64_t i) {
  uint64_t z = key + static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// The recorder's formulas.
float value_at(const std::string& name, int64_t i, int64_t width) {
  const uint64_t word = word_at(name.size(), i);
  int64_t part[4];
  for (int p = 0; p < 4; ++p) part[p] = static_cast<int64_t>(word >> (16 * p) & 0xFFFF);
  if (name == "bell") {
    const float whole = static_cast<float>(part[0] + part[1] + part[2] + part[3] - 131070) * 0x1p-17f;
    return whole * (static_cast<float>(i / width % 37 + 3) / 1000.0f);
  }
  if (name == "tails") {
    if (i / 64 % 101 == 7) return 0.0f;
    return static_cast<float>((part[0] - 32768) * (part[1] >> 8) * (part[2] >> 15)) * 0x1p-24f;
  }
  if (i % 64 == 0) return 1.0f;
  const int64_t chosen = part[0] % 15;
  const float middle =
      static_cast<float>((static_cast<double>(kNf4Levels[chosen]) + static_cast<double>(kNf4Levels[chosen + 1])) / 2);
  if (part[1] % 3 == 1) return middle;
  return std::nextafter(middle, part[1] % 3 == 0 ? -2.0f : 2.0f);
}

struct Hash {
  uint64_t state = 0xCBF29CE484222325u;
  void add(uint64_t word) { state = (state ^ word) * 0x100000001B3u; }
  std::string text() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(state));
    return text;
  }
};

int code_at(const FrozenMatrix& matrix, int64_t out, int64_t k) {
  const auto* panel = static_cast<const uint8_t*>(matrix.packed()) + out / kPanel * matrix.panel_bytes();
  const uint8_t byte = panel[matrix.scale_bytes() + k * matrix.bytes_per_k() + out % 16];
  return out % kPanel < 16 ? byte & 15 : byte >> 4;
}

int absmax_code_at(const FrozenMatrix& matrix, int64_t out, int64_t block) {
  const auto* panel = static_cast<const uint8_t*>(matrix.packed()) + out / kPanel * matrix.panel_bytes();
  return panel[block * kPanel + out % kPanel];
}

class Nf4Golden : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    golden_ = read_json(folder() / "nf4.json").value();
    entry_ = golden_["tensors"][GetParam()];
    name_ = entry_["name"].get<std::string>();
    out_ = entry_["out"].get<int64_t>();
    in_ = entry_["in"].get<int64_t>();
    Tensor wide(DType::kF32, {out_, in_});
    for (int64_t i = 0; i < wide.elements(); ++i) wide.f32()[i] = value_at(name_, i, in_);
    weight_ = Tensor::converted(wide.view(), parse_dtype(entry_["stored"].get<std::string>()).value());
  }
  std::string stem() const { return name_ + "_" + entry_["stored"].get<std::string>(); }

  Json golden_;
  Json entry_;
  std::string name_;
  int64_t out_ = 0;
  int64_t in_ = 0;
  Tensor weight_;
};

TEST_P(Nf4Golden, CodesAndWhatTheyReadBackAsAreBitsandbytes) {
  const FrozenMatrix matrix = FrozenMatrix::quantise(weight_.view(), Quantisation::kNf4, {}).value();
  const int64_t step = golden_["rows_per_hash"].get<int64_t>();
  std::vector<float> row(in_);
  for (int64_t begin = 0; begin < out_; begin += step) {
    Hash codes, wide;
    for (int64_t out = begin; out < begin + step; ++out) {
      matrix.read_row(out, row.data());
      for (int64_t k = 0; k < in_; ++k) {
        codes.add(code_at(matrix, out, k));
        wide.add(std::bit_cast<uint32_t>(row[k]));
      }
    }
    ASSERT_EQ(codes.text(), entry_["codes"][begin / step].get<std::string>()) << stem() << " rows from " << begin;
    ASSERT_EQ(wide.text(), entry_["wide"][begin / step].get<std::string>()) << stem() << " rows from " << begin;
  }
}

TEST_P(Nf4Golden, DoubleQuantisationIsBitsandbytes) {
  const FrozenMatrix matrix = FrozenMatrix::quantise(weight_.view(), Quantisation::kNf4Dq, {}).value();
  const std::string expected = file_bytes(stem() + "_absmax_codes.bin");
  const int64_t blocks = in_ / kNf4Block;
  ASSERT_EQ(static_cast<int64_t>(expected.size()), out_ * blocks);
  int64_t off = 0;
  for (int64_t i = 0; i < out_ * blocks; ++i) {
    const int code = absmax_code_at(matrix, i / blocks, i % blocks);
    const int difference = std::abs(code - static_cast<uint8_t>(expected[i]));
    ASSERT_LE(difference, 1) << stem() << " block " << i;
    off += difference;
  }
  RecordProperty("codes_off_by_one", static_cast<int>(off));
  EXPECT_LE(static_cast<double>(off), 1e-4 * static_cast<double>(out_ * blocks)) << stem();

  // What the codes stand for: the mean is a sum in another order, so a few last bits.
  const double mean = entry_["absmax_mean"].get<double>();
  float lanes[kPanel];
  for (int64_t i = 0; i < out_ * blocks; ++i) {
    const int64_t out = i / blocks;
    if (out % kPanel != 0) continue;
    matrix.read_absmax(out / kPanel, i % blocks, lanes);
    const double largest = entry_["absmax_largest"][i / kernels::kAbsmaxBlock].get<double>();
    const double level = kernels::absmax_levels()[absmax_code_at(matrix, out, i % blocks)];
    ASSERT_NEAR(lanes[0], level * largest + mean, 4e-7 * (largest + mean));
  }
}

INSTANTIATE_TEST_SUITE_P(Tensors, Nf4Golden, ::testing::Range(0, 4));

TEST(Nf4Levels, OfAbsmaxAreBitsandbytes) {
  const Json golden = read_json(folder() / "nf4.json").value();
  const std::vector<float> expected = testing::floats(golden["absmax_levels"]);
  ASSERT_EQ(expected.size(), size_t{256});
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(kernels::absmax_levels()[i], expected[i]) << i;
}

}  // namespace
}  // namespace umbel
