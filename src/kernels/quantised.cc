#include "kernels/quantised.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/frozen_matrix.h"
#include "kernels/matmul_table.h"

namespace umbel::kernels {
namespace {

// Between neighbouring levels; exact in double, and bitsandbytes compares with their nearest f32.
constexpr std::array<float, 15> kNf4Midpoints = [] {
  std::array<float, 15> midpoints{};
  for (int i = 0; i < 15; ++i) {
    midpoints[i] = static_cast<float>((static_cast<double>(kNf4Levels[i]) + kNf4Levels[i + 1]) / 2);
  }
  return midpoints;
}();

float absmax_of(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

// One output's codes and scale into its lane of the panel: scale [32], then codes [k][32].
void quantise_int8(const float* row, int64_t in, int64_t lane, char* panel) {
  const float scale = absmax_of(row, in) / 127.0f;
  reinterpret_cast<float*>(panel)[lane] = scale;
  int8_t* codes = reinterpret_cast<int8_t*>(panel + kPanel * sizeof(float));
  for (int64_t k = 0; k < in; ++k) codes[k * kPanel + lane] = int8_code(row[k], scale);
}

// absmax [k/64][32], then codes [k][16]: lane j in the low half of byte j, lane 16 + j in the high half.
void quantise_nf4(const float* row, int64_t in, int64_t lane, char* panel) {
  float* absmax = reinterpret_cast<float*>(panel);
  uint8_t* codes = reinterpret_cast<uint8_t*>(panel + in / kNf4Block * kPanel * static_cast<int64_t>(sizeof(float)));
  for (int64_t k = 0; k < in; k += kNf4Block) {
    const float largest = absmax_of(row + k, kNf4Block);
    const float inverse = largest > 0 ? 1.0f / largest : 0.0f;
    absmax[k / kNf4Block * kPanel + lane] = largest;
    for (int64_t i = k; i < k + kNf4Block; ++i) {
      const int code = nf4_code(row[i] * inverse);
      codes[i * kPanel / 2 + lane % 16] |= static_cast<uint8_t>(lane < 16 ? code : code << 4);
    }
  }
}

}  // namespace

int nf4_code(float value) {
  int code = 0;  // the levels below that are settled; four halvings of the 15 midpoints
  for (int half = 8; half > 0; half /= 2) {
    code += half * static_cast<int>(value > kNf4Midpoints[code + half - 1]);  // no branch: codes are close to random
  }
  return code;
}

int8_t int8_code(float value, float scale) {
  if (scale == 0) return 0;
  return static_cast<int8_t>(std::clamp(std::nearbyint(value / scale), -127.0f, 127.0f));
}

Result<FrozenMatrix> FrozenMatrix::quantise(const TensorView& weight, Quantisation form, ThreadPool* pool) {
  CHECK(weight.shape.size() == 2 && weight.elements() > 0, "a frozen matrix is packed from [out, in]");
  CHECK(form != Quantisation::kNone, "pack() is for weights as they are");
  const int64_t in = weight.shape[1];
  if (form == Quantisation::kNf4 && in % kNf4Block != 0) {
    return unsupported("nf4 needs rows of a multiple of 64 numbers, this weight is " + shape_string(weight.shape));
  }
  FrozenMatrix matrix;
  matrix.out_ = weight.shape[0];
  matrix.in_ = in;
  matrix.dtype_ = form == Quantisation::kInt8 ? DType::kI8 : DType::kU8;
  matrix.quantisation_ = form;
  matrix.data_ = map(matrix.panels() * matrix.panel_bytes());
  const auto quantise_panel = [&](int64_t panel, int) {
    std::vector<float> row(in);
    char* target = static_cast<char*>(matrix.data_.get()) + panel * matrix.panel_bytes();
    for (int64_t out = panel * kPanel; out < std::min(matrix.out_, (panel + 1) * kPanel); ++out) {
      const char* source = static_cast<const char*>(weight.data) + out * in * static_cast<int64_t>(size_of(weight.dtype));
      widen_to_f32(weight.dtype, source, row.data(), in);
      if (form == Quantisation::kInt8) {
        quantise_int8(row.data(), in, out % kPanel, target);
      } else {
        quantise_nf4(row.data(), in, out % kPanel, target);
      }
    }
  };
  if (pool != nullptr) {
    pool->parallel_for(matrix.panels(), quantise_panel);
  } else {
    for (int64_t panel = 0; panel < matrix.panels(); ++panel) quantise_panel(panel, 0);
  }
  return matrix;
}

void FrozenMatrix::read_quantised_row(int64_t index, float* target) const {
  const int64_t lane = index % kPanel;
  const char* panel = static_cast<const char*>(packed()) + index / kPanel * panel_bytes();
  const float* scales = reinterpret_cast<const float*>(panel);
  const char* codes = panel + scale_bytes();
  for (int64_t k = 0; k < in_; ++k) {
    if (quantisation_ == Quantisation::kInt8) {
      target[k] = static_cast<float>(reinterpret_cast<const int8_t*>(codes)[k * kPanel + lane]) * scales[lane];
    } else {
      const uint8_t byte = reinterpret_cast<const uint8_t*>(codes)[k * kPanel / 2 + lane % 16];
      target[k] = kNf4Levels[lane < 16 ? byte & 15 : byte >> 4] * scales[k / kNf4Block * kPanel + lane];
    }
  }
}

}  // namespace umbel::kernels
