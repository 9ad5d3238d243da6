// Vec for AVX-512 (F, BW, DQ, VL): sixteen f32 lanes. Included by target_avx512.cc and target_amx.cc, each inside its own
// namespace. What every vec_*-inl.h offers:
//   load, store            whole vectors, unaligned; load of uint16_t widens bf16
//   load_partial(p, n)     the first n lanes, the others zero and untouched in memory; store_partial likewise
//   fma a b + c, fnma c - a b (fused where the ISA has it), add sub mul div sqrt
//   max, min               the second operand when either is NaN
//   reduce_add, reduce_max one fixed order
//   select_range(a, fill, begin, end)  lanes [begin, end) of a, fill elsewhere; bounds outside the vector are fine
//   first_at_least(a, bound)           the first lane with a >= bound, or -1
//   scale_by_power(p, n)               p 2^n for whole n
//   store_bf16             rounds to nearest even; NaN stays NaN
#pragma once

#define UMBEL_INLINE static inline __attribute__((always_inline, unused))

namespace umbel::kernels::UMBEL_TARGET {

typedef __m512 Vec;
constexpr int kLanes = 16;
constexpr int kRegisters = 32;

UMBEL_INLINE Vec set1(float value) { return _mm512_set1_ps(value); }
UMBEL_INLINE Vec zero() { return _mm512_setzero_ps(); }
UMBEL_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
UMBEL_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
UMBEL_INLINE __mmask16 below(int n) {
  if (n <= 0) return 0;
  return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1u);
}
UMBEL_INLINE Vec load_partial(const float* p, int n) { return _mm512_maskz_loadu_ps(below(n), p); }
UMBEL_INLINE void store_partial(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, below(n), v); }
UMBEL_INLINE Vec widen(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
UMBEL_INLINE Vec load(const uint16_t* p) { return widen(_mm256_loadu_si256((const __m256i*)p)); }
UMBEL_INLINE Vec load_partial(const uint16_t* p, int n) { return widen(_mm256_maskz_loadu_epi16(below(n), p)); }
UMBEL_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
UMBEL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
UMBEL_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
UMBEL_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
UMBEL_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
UMBEL_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
UMBEL_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
UMBEL_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
UMBEL_INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
UMBEL_INLINE float reduce_add(Vec v) {
  const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
UMBEL_INLINE float reduce_max(Vec v) {
  const __m256 s = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}
UMBEL_INLINE Vec select_range(Vec a, Vec fill, int begin, int end) {
  return _mm512_mask_mov_ps(fill, (__mmask16)(below(end) & ~below(begin)), a);
}
UMBEL_INLINE int first_at_least(Vec a, Vec bound) {
  const unsigned mask = _mm512_cmp_ps_mask(a, bound, _CMP_GE_OQ);
  return mask == 0 ? -1 : __builtin_ctz(mask);
}
UMBEL_INLINE Vec round_nearest(Vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UMBEL_INLINE Vec scale_by_power(Vec p, Vec n) { return _mm512_scalef_ps(p, n); }
UMBEL_INLINE void store_bf16(uint16_t* p, Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i high = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
  const __m512i result = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet);
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(result));
}
UMBEL_INLINE void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
UMBEL_INLINE void prefetch_l2(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }

}  // namespace umbel::kernels::UMBEL_TARGET
