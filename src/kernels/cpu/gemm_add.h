// y += u o scale * h b for a list of f32 products in one parallel region: the matrix-shaped gradients of training.
#pragma once

#include <span>

#include "kernels/context.h"
#include "kernels/table.h"

namespace umbel::kernels {

// Every product is one ExpandTile (f32 b) of any size; their y must not overlap. One chain per element of y over ascending
// `rank`, so the cut into tasks changes no bits. Takes gemm_add_scratch_bytes(products) of scratch.
void gemm_add(Context& context, std::span<const ExpandTile> products);
constexpr size_t gemm_add_scratch_bytes(int64_t products) { return static_cast<size_t>(products + 1) * sizeof(int64_t) + 64; }

}  // namespace umbel::kernels
