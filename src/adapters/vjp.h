// Backward of the algebra over segments, the mirror of apply.h: gradients of every vector and factor of an adapter, and
// dx.
//
// With y = sum_k post_k o W(pre_k o x) + sum_j u_j o scale_j B_j(v_j o (A_j x)) + c, and V = W^T(post_k o dy), U =
// W(pre_k o x):
//   dpre_k  += sum_t x o V        dpost_k += sum_t dy o U       dc += sum_t dy
//   dA_j    += v o (B^T g) x^T    dB_j    += g (v o A x)^T      with g = scale u o dy
//   dv_j    += sum_t (A x) o (B^T g)      du_j += sum_t scale dy o B (v o A x)
//   dx       = sum_k pre_k o V + sum_j A^T (v o B^T g)
// Sources: flora.md section 2 and training.md 2.5 in the reference notes; checked against dual numbers.
//
// Accumulation contract: gradients of parameters add (+=), dx overwrites. Rows of a segment are added one by one in
// ascending order (those of modulated scale terms, example by example), so an adapter's gradients have the same bits whatever
// else is in the batch, for any number of threads.
#pragma once

#include <cstdint>
#include <span>

#include "adapters/segments.h"
#include "adapters/targets.h"
#include "kernels/api_vjp.h"

namespace umbel {

// Where the gradients of one adapter's terms at one target go: f32, dense. Null = not wanted (DoRA's norms are
// detached).
using ScaleGrads = kernels::ScaledRowGradient;
struct LowRankGrads {
  float* a = nullptr;    // [rank, in]
  float* b_t = nullptr;  // [rank, out]
  float* u = nullptr;    // [out]
  float* v = nullptr;    // [rank]
};
struct LinearGrads {
  std::span<const ScaleGrads> scale;       // one per scale term, or empty
  std::span<const LowRankGrads> low_rank;  // one per low-rank term, or empty
  float* bias = nullptr;                   // [out]: of c
  // Of a module saved whole: [out, in] of own_weight; at an embedding [vocab, dim] of own_table; at a norm [dim] of its gain.
  float* weight = nullptr;

  bool any() const { return !scale.empty() || !low_rank.empty() || bias != nullptr || weight != nullptr; }
};

struct LinearVjp {
  const TargetTable& targets;
  int32_t index;
  Segments segments;
  std::span<const LinearGrads> grads;  // one per segment; {} where nothing is wanted. Segments do not share gradients.
  ConstMatrixF x;                      // [M, in], as the forward saw it
  ConstMatrixF dy;                     // [M, out]
};

// dx: [M, in], overwritten; data null = not wanted. A weight saved whole gets
// dW += dy^T x where its gradient is wanted.
void apply_linear_vjp(kernels::Context& context, const LinearVjp& call, MatrixF dx);

// What bounds the scratch of one call.
struct LinearVjpShape {
  int64_t rows = 0, in = 0, out = 0;
  int64_t rank_max = 0;   // as for apply_linear_scratch_bytes
  int64_t terms_max = 0;  // scale terms of one adapter, where segments name their examples
  int threads = 1;        // of context.pool
};
// Scratch bytes that apply_linear_vjp takes from context.scratch at most.
size_t apply_linear_vjp_scratch_bytes(const LinearVjpShape& shape);

}  // namespace umbel
