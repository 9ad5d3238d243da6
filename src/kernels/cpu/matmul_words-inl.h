// What matmul-inl.h needs beyond Vec, for the ISA that the including leaf file is compiled for:
//   broadcast(p)              one f32 in all lanes
//   load_f16(p)               kLanes f16 widened
//   widen_even/widen_odd(p)   the lower/upper bf16 of kLanes 32-bit words, widened
//   keep(v)                   v counts as used
//   Words, load_words, broadcast_words, dot_bf16   where UMBEL_HAS_BF16_DOT
#pragma once

#if defined(__AVX512F__)
#define UMBEL_TILE_ROWS_14 1
#else
#define UMBEL_TILE_ROWS_14 0
#endif
#if defined(__AVX512BF16__)
#define UMBEL_HAS_BF16_DOT 1
#else
#define UMBEL_HAS_BF16_DOT 0
#endif

namespace umbel::kernels::UMBEL_TARGET {

constexpr int64_t kPrefetchBytes = 1024;

#if defined(__AVX512F__)

typedef __m512i Words;
UMBEL_INLINE void keep(Vec v) { __asm__ volatile("" ::"v"(v)); }
UMBEL_INLINE Vec broadcast(const float* p) {
  Vec v = _mm512_set1_ps(*p);
  __asm__("" : "+v"(v));  // keep it in a register: one load for all vectors of the row
  return v;
}
UMBEL_INLINE Vec load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
UMBEL_INLINE Words load_words(const uint32_t* p) { return _mm512_loadu_si512(p); }
UMBEL_INLINE Vec widen_even(const uint32_t* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(load_words(p), 16)); }
UMBEL_INLINE Vec widen_odd(const uint32_t* p) {
  return _mm512_castsi512_ps(_mm512_and_si512(load_words(p), _mm512_set1_epi32((int)0xffff0000u)));
}
#if UMBEL_HAS_BF16_DOT
UMBEL_INLINE Words broadcast_words(const uint32_t* p) {
  Words v = _mm512_set1_epi32((int)*p);
  __asm__("" : "+v"(v));
  return v;
}
UMBEL_INLINE Vec dot_bf16(Vec acc, Words a, Words b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
#endif

#elif defined(__AVX2__)

UMBEL_INLINE void keep(Vec v) { __asm__ volatile("" ::"x"(v)); }
UMBEL_INLINE Vec broadcast(const float* p) { return _mm256_broadcast_ss(p); }
UMBEL_INLINE Vec load_f16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
UMBEL_INLINE __m256i load_words(const uint32_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
UMBEL_INLINE Vec widen_even(const uint32_t* p) { return _mm256_castsi256_ps(_mm256_slli_epi32(load_words(p), 16)); }
UMBEL_INLINE Vec widen_odd(const uint32_t* p) {
  return _mm256_castsi256_ps(_mm256_and_si256(load_words(p), _mm256_set1_epi32((int)0xffff0000u)));
}

#else

typedef uint32_t UnalignedWords __attribute__((vector_size(16), aligned(4), may_alias));
UMBEL_INLINE void keep(Vec v) { __asm__ volatile("" ::"m"(v)); }
UMBEL_INLINE Vec broadcast(const float* p) { return set1(*p); }
UMBEL_INLINE UintVec load_words(const uint32_t* p) { return (UintVec) * (const UnalignedWords*)p; }
UMBEL_INLINE Vec widen_even(const uint32_t* p) { return (Vec)(load_words(p) << 16); }
UMBEL_INLINE Vec widen_odd(const uint32_t* p) { return (Vec)(load_words(p) & 0xffff0000u); }
// Exponent and fraction move into place and a multiplication by 2^112 corrects the bias, exactly, for subnormals too.
UMBEL_INLINE Vec load_f16(const uint16_t* p) {
  const UintVec bits = {p[0], p[1], p[2], p[3]};
  const UintVec magnitude = (bits & 0x7fffu) << 13;
  const UintVec special = (UintVec)((IntVec)(magnitude) >= (IntVec)(UintVec{0x0f800000u, 0x0f800000u, 0x0f800000u, 0x0f800000u}));
  const UintVec finite = (UintVec)((Vec)magnitude * set1(0x1.0p112f));
  const UintVec wide = (special & (magnitude | 0x7f800000u)) | (~special & finite);
  return (Vec)(wide | (bits & 0x8000u) << 16);
}

#endif

}  // namespace umbel::kernels::UMBEL_TARGET
