// The gradient towards x multiplies with squares of the packed weight, 32 outputs by 32 k, turned so that outputs take the place of k:
// widened to f32, or in pairs of bf16 where that is the arithmetic (matmul_table.h says how both lie). Included by matmul-inl.h,
// whose formats and words it reads. Leaf code: allocates nothing, any thread.
#pragma once

#include "kernels/matmul_table.h"

namespace umbel::kernels::UMBEL_TARGET {

template <class Format>
static void transpose_square(const void* weight, int64_t k_count, float* target, const void* ahead) {
  const char* w = (const char*)weight;
  for (int64_t i = 0; i < kPanel / Format::kStep * Format::kWeightBytes; i += 64) prefetch((const char*)ahead + i);
  for (int64_t k = 0; k < kPanel; k += kLanes) {
    for (int lane = 0; lane < kPanel; lane += kLanes) {
      Vec rows[kLanes];
      UMBEL_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        const char* step = w + (k + i) / Format::kStep * Format::kWeightBytes;
        rows[i] = k + i < k_count ? Format::weight(step, lane, (int)((k + i) % Format::kStep)) : zero();
      }
      transpose(rows);
      UMBEL_UNROLL
      for (int i = 0; i < kLanes; ++i) store(target + (lane + i) * kPanel + k, rows[i]);
    }
  }
}

#if UMBEL_HAS_BF16_DOT
// Of bf16 weights, in pairs of outputs: every row of words, (k, k + 1) of 32 outputs, gives two rows of 16 pairs, which are then turned.
static void turn_bf16_pairs(const void* weight, int64_t k_count, uint32_t* target, const void* ahead) {
  const uint32_t* w = (const uint32_t*)weight;
  for (int64_t i = 0; i < kPanel / 2 * kPanel * 4; i += 64) prefetch((const char*)ahead + i);
  for (int64_t k = 0; k < kPanel; k += kLanes) {
    Vec rows[kLanes];
    UMBEL_UNROLL
    for (int i = 0; i < kLanes; i += 2) {
      const bool there = k + i < k_count;
      const uint32_t* words = w + (k + i) / 2 * kPanel;
      const Words low = there ? load_words(words) : Words{}, high = there ? load_words(words + kLanes) : Words{};
      rows[i] = (Vec)even_pairs(low, high);
      rows[i + 1] = (Vec)odd_pairs(low, high);
    }
    transpose(rows);
    UMBEL_UNROLL
    for (int i = 0; i < kLanes; ++i) store((float*)target + i * kPanel + k, rows[i]);
  }
}
#endif

}  // namespace umbel::kernels::UMBEL_TARGET
