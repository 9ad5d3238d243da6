// Vec for AVX2 + FMA: eight f32 lanes. The operations are those of vec_avx512-inl.h.
#pragma once

#define UMBEL_INLINE static inline __attribute__((always_inline, unused))

namespace umbel::kernels::UMBEL_TARGET {

typedef __m256 Vec;
constexpr int kLanes = 8;
constexpr int kRegisters = 16;

UMBEL_INLINE Vec set1(float value) { return _mm256_set1_ps(value); }
UMBEL_INLINE Vec zero() { return _mm256_setzero_ps(); }
UMBEL_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
UMBEL_INLINE void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
UMBEL_INLINE __m256i lane_index() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
UMBEL_INLINE __m256i below(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane_index()); }
UMBEL_INLINE Vec load_partial(const float* p, int n) { return _mm256_maskload_ps(p, below(n)); }
UMBEL_INLINE void store_partial(float* p, Vec v, int n) { _mm256_maskstore_ps(p, below(n), v); }
UMBEL_INLINE Vec widen(__m128i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)); }
UMBEL_INLINE Vec load(const uint16_t* p) { return widen(_mm_loadu_si128((const __m128i*)p)); }
UMBEL_INLINE Vec load_partial(const uint16_t* p, int n) {
  uint16_t copy[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (int i = 0; i < n; ++i) copy[i] = p[i];
  return load(copy);
}
UMBEL_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
UMBEL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
UMBEL_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
UMBEL_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
UMBEL_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
UMBEL_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
UMBEL_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
UMBEL_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
UMBEL_INLINE Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
UMBEL_INLINE float reduce_add(Vec v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
UMBEL_INLINE float reduce_max(Vec v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
UMBEL_INLINE Vec select_range(Vec a, Vec fill, int begin, int end) {
  const __m256i keep = _mm256_andnot_si256(below(begin), below(end));
  return _mm256_blendv_ps(fill, a, _mm256_castsi256_ps(keep));
}
UMBEL_INLINE int first_at_least(Vec a, Vec bound) {
  const int mask = _mm256_movemask_ps(_mm256_cmp_ps(a, bound, _CMP_GE_OQ));
  return mask == 0 ? -1 : __builtin_ctz(mask);
}
UMBEL_INLINE Vec round_nearest(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
UMBEL_INLINE Vec scale_by_power(Vec p, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const Vec low = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const Vec high = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23));
  return mul(mul(p, low), high);
}
UMBEL_INLINE void store_bf16(uint16_t* p, Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i high = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i result = _mm256_blendv_epi8(rounded, quiet, nan);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
  _mm_storeu_si128((__m128i*)p, packed);
}
UMBEL_INLINE void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
UMBEL_INLINE void prefetch_l2(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }

}  // namespace umbel::kernels::UMBEL_TARGET
