#include "kernels/cpu/panels.h"

#include <algorithm>

#include "base/check.h"

namespace umbel::kernels {
namespace {

void widen_int8(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t k_begin, int64_t k_count, float* target) {
  const char* scales = static_cast<const char*>(weight.packed()) + panel * weight.panel_bytes();
  table.widen_int8(packed_at(weight, panel, k_begin), k_count, reinterpret_cast<const float*>(scales), target);
}

void widen_nf4(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t k_begin, int64_t k_count, float* target) {
  for (int64_t k = k_begin; k < k_begin + k_count;) {  // block by block: each has its own absmax
    const int64_t count = std::min(k_begin + k_count, (k / kNf4Block + 1) * kNf4Block) - k;
    float absmax[kPanel];
    weight.read_absmax(panel, k / kNf4Block, absmax);
    table.widen_nf4(packed_at(weight, panel, k), count, absmax, kNf4Levels, target);
    k += count;
    target += count * kPanel;
  }
}

}  // namespace

void widen_panel(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t k_begin, int64_t k_count, float* target) {
  if (is_nf4(weight.quantisation())) return widen_nf4(table, weight, panel, k_begin, k_count, target);
  if (weight.quantisation() == Quantisation::kInt8) return widen_int8(table, weight, panel, k_begin, k_count, target);
  const void* packed = packed_at(weight, panel, k_begin);
  switch (weight.dtype()) {
    case DType::kF32: return table.widen_f32(packed, k_count, target);
    case DType::kF16: return table.widen_f16(packed, k_count, target);
    case DType::kBF16: return table.widen_bf16(packed, k_count, target);
    default: break;
  }
  CHECK(false, "a frozen matrix of an unknown type");
}

void turn_square(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t in_begin, float* target, const void* ahead) {
  const int64_t in_count = std::min(kPanel, weight.in_padded() - in_begin);
  if (weight.quantisation() != Quantisation::kNone) {
    float square[kPanel * kPanel];
    widen_panel(table, weight, panel, in_begin, in_count, square);
    table.transpose_f32(square, in_count, target, square);
    return;
  }
  const void* packed = packed_at(weight, panel, in_begin);
  switch (weight.dtype()) {
    case DType::kF32: return table.transpose_f32(packed, in_count, target, ahead);
    case DType::kF16: return table.transpose_f16(packed, in_count, target, ahead);
    case DType::kBF16: return table.transpose_bf16(packed, in_count, target, ahead);
    default: break;
  }
  CHECK(false, "a frozen matrix of an unknown type");
}

void turn_pairs(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t in_begin, uint32_t* target, const void* ahead) {
  CHECK(table.turn_bf16_pairs != nullptr, "this ISA cannot compute with a weight packed for another one");
  const int64_t in_count = std::min(kPanel, weight.in_padded() - in_begin);
  table.turn_bf16_pairs(packed_at(weight, panel, in_begin), in_count, target, ahead);
}

}  // namespace umbel::kernels
