// Dropout of an adapter's input in training: the low-rank terms of a segment with keys read mask o x / (1 - rate) in place of x;
// the base's own product reads x. The mask of a row is a pure function of (its key, target, column), so passes, threads and
// batch mates never change it, and the mirror sees what the forward saw.
//
// Source: Srivastava et al. 2014, scaled at training time, where PEFT puts it (lora_dropout, vera_dropout). With DoRA, PEFT drops
// the base's share of the correction too; here the base's product is never dropped.
#pragma once

#include <cstdint>
#include <span>

#include "adapters/vjp.h"

namespace umbel {

// One row's mask: 0 or 1 / (1 - rate) for each of [0, columns). Value for value a function of its column alone.
void dropout_mask(uint64_t key, int32_t target, float rate, std::span<float> mask);

// y += the low-rank terms of the segments that are dropped.
void apply_dropped(kernels::Context& context, Segments segments, int32_t index, ConstMatrixF x, MatrixF y);
// Their gradients (+=), and their share of dx (+=; data null = not wanted).
void apply_dropped_vjp(kernels::Context& context, const LinearVjp& call, MatrixF dx);

// Bytes that either takes from context.scratch at most.
size_t dropped_scratch_bytes(int64_t rows, int64_t in, int64_t out, int64_t rank_max);

}  // namespace umbel
