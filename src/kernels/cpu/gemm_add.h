// y += h b for a list of f32 products in one parallel region: the matrix-shaped gradients of training.
#pragma once

#include <span>

#include "kernels/context.h"
#include "kernels/table.h"

namespace umbel::kernels {

// Every product is one ExpandTile (f32 b, u null, scale 1) of any size; their y must not overlap. Each element of y goes on as
// one chain over ascending `rank`: neither the cut into tasks nor the cut of a sum over rows into calls changes bits. Takes gemm_add_scratch_bytes(products) of scratch.
void gemm_add(Context& context, std::span<const ExpandTile> products);
constexpr size_t gemm_add_scratch_bytes(int64_t products) { return static_cast<size_t>(products + 1) * sizeof(int64_t) + 64; }

}  // namespace umbel::kernels
