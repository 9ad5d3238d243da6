#include "kernels/quantised.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
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

constexpr float kSmallestAbsmax = 1e-38f;  // bitsandbytes divides by no less

// Values with the middle of every pair of neighbours at one decade's points: 10^(decade - 6) * (0.1 ... 1).
constexpr std::array<float, 256> make_absmax_levels() {
  std::array<float, 256> levels{};
  size_t count = 2;
  levels[1] = 1.0f;  // and levels[0] = 0
  constexpr float kDecades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  for (int decade = 0; decade < 7; ++decade) {
    const int intervals = 1 << decade;
    const float step = (1.0f - 0.1f) / static_cast<float>(intervals);
    const auto point = [&](int i) {  // counted from the nearer end, rounded once
      return i < (intervals + 1) / 2 ? static_cast<float>(0.1f + static_cast<double>(step) * i)
                                     : static_cast<float>(1.0 - static_cast<double>(step) * (intervals - i));
    };
    for (int i = 0; i < intervals; ++i) {
      const float level = kDecades[decade] * ((point(i) + point(i + 1)) / 2.0f);
      levels[count++] = level;
      levels[count++] = -level;
    }
  }
  std::sort(levels.begin(), levels.end());
  return levels;
}
constexpr std::array<float, 256> kAbsmaxLevels = make_absmax_levels();

float absmax_of(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

bool all_finite(const float* values, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite &= std::fabs(values[i]) <= std::numeric_limits<float>::max();
  return finite;
}

// One output's codes and scale into its lane of the panel.
void quantise_int8(const float* row, int64_t in, int64_t lane, char* panel) {
  const float scale = absmax_of(row, in) / 127.0f;
  reinterpret_cast<float*>(panel)[lane] = scale;
  uint8_t* codes = reinterpret_cast<uint8_t*>(panel + kPanel * sizeof(float));
  for (int64_t k = 0; k < in; ++k) {
    codes[(k / kInt8Cell * kPanel + lane) * kInt8Cell + k % kInt8Cell] = static_cast<uint8_t>(int8_code(row[k], scale) + kInt8Bias);
  }
}

// Codes [k][16]: lane j in the low half of byte j, lane 16 + j in the high half. absmax of block i to absmax[i * stride].
void quantise_nf4(const float* row, int64_t in, int64_t lane, uint8_t* codes, float* absmax, int64_t stride) {
  for (int64_t k = 0; k < in; k += kNf4Block) {
    const float largest = absmax_of(row + k, kNf4Block);
    const float inverse = 1.0f / std::max(largest, kSmallestAbsmax);
    absmax[k / kNf4Block * stride] = largest;
    for (int64_t i = k; i < k + kNf4Block; ++i) {
      const int code = nf4_code(row[i] * inverse);
      codes[i * kPanel / 2 + lane % 16] |= static_cast<uint8_t>(lane < 16 ? code : code << 4);
    }
  }
}

void for_each(ThreadPool* pool, int64_t count, const std::function<void(int64_t, int)>& body) {
  if (pool != nullptr) return pool->parallel_for(count, body);
  for (int64_t i = 0; i < count; ++i) body(i, 0);
}

}  // namespace

std::string_view quantisation_name(Quantisation form) {
  switch (form) {
    case Quantisation::kNone: return "none";
    case Quantisation::kInt8: return "int8";
    case Quantisation::kNf4: return "nf4";
    case Quantisation::kNf4Dq: return "nf4-dq";
  }
  CHECK(false, "an unknown quantisation");
}

const std::array<float, 256>& absmax_levels() { return kAbsmaxLevels; }

uint8_t absmax_code(float value) {
  const float clamped = std::clamp(value, -1.0f, 1.0f);
  const int32_t point = static_cast<int32_t>((clamped + 1.0f) * 0.5f * 65535.0f + 0.5f);
  const float moved = -1.0f + 2.0f * static_cast<float>(point) / 65535.0f;
  const auto right = std::lower_bound(kAbsmaxLevels.begin(), kAbsmaxLevels.end(), moved);
  if (right == kAbsmaxLevels.begin()) return 0;
  const auto nearest = right == kAbsmaxLevels.end() || moved - right[-1] <= *right - moved ? right - 1 : right;
  return static_cast<uint8_t>(nearest - kAbsmaxLevels.begin());
}

int nf4_code(float value) {
  int code = 0;  // the levels below that are settled; four halvings of the 15 midpoints
  for (int half = 8; half > 0; half /= 2) {
    code += half * static_cast<int>(value > kNf4Midpoints[code + half - 1]);  // no branch: codes are close to random
  }
  return code;
}

int8_t int8_code(float value, float scale) {
  const float code = std::nearbyint(value / scale);
  if (scale == 0 || std::isnan(code)) return 0;  // (a matrix that is not finite is refused as a whole)
  return static_cast<int8_t>(std::clamp(code, -127.0f, 127.0f));
}

Result<FrozenMatrix> FrozenMatrix::quantise(const TensorView& weight, Quantisation form, const Choice& choice, ThreadPool* pool) {
  CHECK(weight.shape.size() == 2 && weight.elements() > 0, "a frozen matrix is packed from [out, in]");
  CHECK(form != Quantisation::kNone, "pack() is for weights as they are");
  const int64_t in = weight.shape[1];
  if (is_nf4(form) && in % kNf4Block != 0) {
    return unsupported("nf4 needs rows of a multiple of 64 numbers, this weight is " + shape_string(weight.shape));
  }
  FrozenMatrix matrix;
  matrix.out_ = weight.shape[0];
  matrix.in_ = in;
  matrix.dtype_ = form == Quantisation::kInt8 ? DType::kI8 : DType::kU8;
  matrix.quantisation_ = form;
  if (form == Quantisation::kInt8) matrix.arithmetic_ = choice.int8;
  const bool nested = form == Quantisation::kNf4Dq;
  matrix.data_ = map(matrix.panels() * matrix.panel_bytes() + (nested ? matrix.absmax_blocks() * 4 : 0));
  std::vector<float> absmax(nested ? matrix.out_ * (in / kNf4Block) : 0);
  std::atomic<bool> finite = true;
  for_each(pool, matrix.panels(), [&](int64_t panel, int) {
    std::vector<float> row(in);
    char* target = matrix.panel_data(panel);
    if (form == Quantisation::kInt8) std::memset(target + matrix.scale_bytes(), kInt8Bias, matrix.in_padded() * kPanel);
    for (int64_t out = panel * kPanel; out < std::min(matrix.out_, (panel + 1) * kPanel); ++out) {
      const char* source = static_cast<const char*>(weight.data) + out * in * static_cast<int64_t>(size_of(weight.dtype));
      widen_to_f32(weight.dtype, source, row.data(), in);
      if (!all_finite(row.data(), in)) finite = false;
      const int64_t lane = out % kPanel;
      if (form == Quantisation::kInt8) {
        quantise_int8(row.data(), in, lane, target);
      } else {
        uint8_t* codes = reinterpret_cast<uint8_t*>(target + matrix.scale_bytes());
        float* scales = nested ? absmax.data() + out * (in / kNf4Block) : reinterpret_cast<float*>(target) + lane;
        quantise_nf4(row.data(), in, lane, codes, scales, nested ? 1 : kPanel);
      }
    }
  });
  if (!finite) return data_loss("the weight holds a value that is not finite");
  if (nested) matrix.compress_absmax(absmax, pool);
  return matrix;
}

const float* FrozenMatrix::absmax_largest() const {
  return reinterpret_cast<const float*>(static_cast<const char*>(data_.get()) + panels() * panel_bytes());
}

void FrozenMatrix::compress_absmax(const std::vector<float>& absmax, ThreadPool* pool) {
  double sum = 0;
  for (const float value : absmax) sum += value;
  absmax_mean_ = static_cast<float>(sum / static_cast<double>(absmax.size()));
  float* largest = const_cast<float*>(absmax_largest());
  const int64_t count = static_cast<int64_t>(absmax.size());
  const int64_t per_row = in_ / kNf4Block;
  for_each(pool, absmax_blocks(), [&](int64_t block, int) {
    float differences[kAbsmaxBlock] = {};
    const int64_t begin = block * kAbsmaxBlock;
    const int64_t end = std::min(count, begin + kAbsmaxBlock);
    for (int64_t i = begin; i < end; ++i) differences[i - begin] = absmax[i] - absmax_mean_;
    largest[block] = absmax_of(differences, end - begin);
    const float inverse = 1.0f / std::max(largest[block], kSmallestAbsmax);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t out = i / per_row;
      panel_data(out / kPanel)[i % per_row * kPanel + out % kPanel] =
          static_cast<char>(largest[block] == 0 ? 0 : absmax_code(differences[i - begin] * inverse));
    }
  });
}

void FrozenMatrix::read_absmax(int64_t panel, int64_t block, float* target) const {
  const char* scales = static_cast<const char*>(packed()) + panel * panel_bytes();
  if (quantisation_ == Quantisation::kNf4) {
    std::memcpy(target, scales + block * kPanel * 4, kPanel * 4);
    return;
  }
  const uint8_t* codes = reinterpret_cast<const uint8_t*>(scales) + block * kPanel;
  const float* largest = absmax_largest();
  const int64_t per_row = in_ / kNf4Block;
  const int64_t lanes = std::min(kPanel, out_ - panel * kPanel);
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t index = (panel * kPanel + lane) * per_row + block;
    target[lane] = kAbsmaxLevels[codes[lane]] * largest[index / kAbsmaxBlock] + absmax_mean_;
  }
  for (int64_t lane = lanes; lane < kPanel; ++lane) target[lane] = 0;
}

void FrozenMatrix::read_quantised_row(int64_t index, float* target) const {
  const int64_t lane = index % kPanel;
  const int64_t panel = index / kPanel;
  const char* data = static_cast<const char*>(packed()) + panel * panel_bytes();
  const char* codes = data + scale_bytes();
  if (quantisation_ == Quantisation::kInt8) {
    const float scale = reinterpret_cast<const float*>(data)[lane];
    for (int64_t k = 0; k < in_; ++k) {
      const auto code = static_cast<uint8_t>(codes[(k / kInt8Cell * kPanel + lane) * kInt8Cell + k % kInt8Cell]);
      target[k] = static_cast<float>(code - kInt8Bias) * scale;
    }
    return;
  }
  float absmax[kPanel];
  for (int64_t k = 0; k < in_; ++k) {
    if (k % kNf4Block == 0) read_absmax(panel, k / kNf4Block, absmax);
    const uint8_t byte = reinterpret_cast<const uint8_t*>(codes)[k * kPanel / 2 + lane % 16];
    target[k] = kNf4Levels[lane < 16 ? byte & 15 : byte >> 4] * absmax[lane];
  }
}

}  // namespace umbel::kernels
