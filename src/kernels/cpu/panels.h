// Parts of a packed weight as f32, whatever its stored form: what is read where tiles cannot take the packed form itself.
#pragma once

#include "kernels/frozen_matrix.h"
#include "kernels/matmul_table.h"

namespace umbel::kernels {

// Where k `k` of a panel's packed numbers stands, behind its scales.
inline const char* packed_at(const FrozenMatrix& weight, int64_t panel, int64_t k) {
  return static_cast<const char*>(weight.packed()) + panel * weight.panel_bytes() + weight.scale_bytes() + k * weight.bytes_per_k();
}

// k rows [k_begin, k_begin + k_count) of a panel: target[k_count][32], that is W^T. Both even for bf16.
void widen_panel(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t k_begin, int64_t k_count, float* target);

// The panel's 32 outputs by the 32 inputs from in_begin (a multiple of 32) on: target[32 outputs][32 inputs], that is W; zeros
// where there is no input. `ahead`: packed numbers to prefetch meanwhile.
void turn_square(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t in_begin, float* target, const void* ahead);

// The same square as it is stored, of a weight of 16-bit arithmetic: target[16 pairs of outputs][32 inputs], pairs of bf16.
void turn_pairs(const MatmulTable& table, const FrozenMatrix& weight, int64_t panel, int64_t in_begin, uint32_t* target, const void* ahead);

}  // namespace umbel::kernels
