// What matmul-inl.h needs beyond Vec, for the ISA that the including leaf file is compiled for:
//   broadcast(p)              one f32 in all lanes
//   add_product(acc, a, b)    acc += a b, fused where the ISA has it
//   load_f16(p)               kLanes f16 widened
//   widen_even/widen_odd(p)   the lower/upper bf16 of kLanes 32-bit words, widened
//   byte_of(p, i)             byte i of kLanes 32-bit words, as f32
//   Levels, load_levels, look_up_low/high(levels, p)   16 f32 levels; those that the halves of kLanes bytes name
//   keep(v)                   v counts as used and as unknown from here on
//   transpose(rows)           kLanes vectors as a square matrix, in place
//   Words, load_words, broadcast_words, dot_bf16, even_pairs, odd_pairs   where UMBEL_HAS_BF16_DOT
//   dot_int8(acc, a, b)       acc += four products of bytes per word, a unsigned, b signed; whole_words(w) as f32, set_words(value),
//   store_codes(p, v)         kLanes whole numbers as int8   where UMBEL_HAS_INT8_DOT
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
#if defined(__AVX512VNNI__)
#define UMBEL_HAS_INT8_DOT 1
#else
#define UMBEL_HAS_INT8_DOT 0
#endif

// Register arrays only stay in registers when their loops are unrolled whole.
#if defined(__clang__)
#define UMBEL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define UMBEL_UNROLL _Pragma("GCC unroll 32")
#endif

namespace umbel::kernels::UMBEL_TARGET {

#if defined(__AVX512F__)

typedef __m512i Words;
UMBEL_INLINE void keep(Vec& v) { __asm__ volatile("" : "+v"(v)); }
UMBEL_INLINE void keep(Words& v) { __asm__ volatile("" : "+v"(v)); }
UMBEL_INLINE Vec broadcast(const float* p) {
  Vec v = _mm512_set1_ps(*p);
  __asm__("" : "+v"(v));  // keep it in a register: one load for all vectors of the row
  return v;
}
UMBEL_INLINE void add_product(Vec& acc, Vec a, Vec b) { acc = fma(a, b, acc); }
UMBEL_INLINE Vec load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
UMBEL_INLINE Words load_words(const uint32_t* p) { return _mm512_loadu_si512(p); }
UMBEL_INLINE Vec widen_even(const uint32_t* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(load_words(p), 16)); }
UMBEL_INLINE Vec widen_odd(const uint32_t* p) {  // a masked load: no register for a mask vector, which the tiles need
  return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(0xaaaaaaaau, p));
}
UMBEL_INLINE Vec byte_of(const uint32_t* p, int i) {
  const Words byte = _mm512_srl_epi32(load_words(p), _mm_cvtsi32_si128(8 * i));
  return _mm512_cvtepi32_ps(_mm512_and_si512(byte, _mm512_set1_epi32(255)));
}
typedef Vec Levels;
UMBEL_INLINE Levels load_levels(const float* levels) { return load(levels); }
UMBEL_INLINE Vec look_up_low(Levels levels, const uint8_t* p) {  // the permutation reads four bits of an index
  return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)), levels);
}
UMBEL_INLINE Vec look_up_high(Levels levels, const uint8_t* p) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
  return _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), levels);
}
UMBEL_INLINE void transpose(Vec (&rows)[16]) {
  // Pairs of rows, then of pairs, inside 128-bit lanes; then the lanes themselves.
  __m512 pairs[16];
  UMBEL_UNROLL
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  UMBEL_UNROLL
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(pairs[i]), b = _mm512_castps_pd(pairs[i + 1]);
    const __m512d c = _mm512_castps_pd(pairs[i + 2]), d = _mm512_castps_pd(pairs[i + 3]);
    rows[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    rows[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    rows[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    rows[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  // rows[4 g + c] now holds, per 128-bit lane l, column 4 l + c of the rows 4 g .. 4 g + 3.
  UMBEL_UNROLL
  for (int c = 0; c < 4; ++c) {
    const __m512 low = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0x44), low2 = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0x44);
    const __m512 high = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0xee), high2 = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0xee);
    pairs[c] = _mm512_shuffle_f32x4(low, low2, 0x88);
    pairs[4 + c] = _mm512_shuffle_f32x4(low, low2, 0xdd);
    pairs[8 + c] = _mm512_shuffle_f32x4(high, high2, 0x88);
    pairs[12 + c] = _mm512_shuffle_f32x4(high, high2, 0xdd);
  }
  UMBEL_UNROLL
  for (int i = 0; i < 16; ++i) rows[i] = pairs[i];
}
UMBEL_INLINE Words broadcast_words(const uint32_t* p) {
  Words v = _mm512_set1_epi32((int)*p);
  __asm__("" : "+v"(v));
  return v;
}
#if UMBEL_HAS_BF16_DOT
UMBEL_INLINE Vec dot_bf16(Vec acc, Words a, Words b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
// The lower (even) or upper (odd) halves of the 32 words of a and b, in order, as 16 words.
struct HalvesOfWords {
  alignas(64) uint16_t even[32];
  alignas(64) uint16_t odd[32];
  constexpr HalvesOfWords() : even(), odd() {
    for (int i = 0; i < 32; ++i) {
      even[i] = (uint16_t)(2 * i);
      odd[i] = (uint16_t)(2 * i + 1);
    }
  }
};
static constexpr HalvesOfWords kHalvesOfWords;
UMBEL_INLINE Words even_pairs(Words a, Words b) {
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(kHalvesOfWords.even), b);
}
UMBEL_INLINE Words odd_pairs(Words a, Words b) { return _mm512_permutex2var_epi16(a, _mm512_load_si512(kHalvesOfWords.odd), b); }
#endif

#if UMBEL_HAS_INT8_DOT
// Spelled out: with the intrinsic, g++ 12 keeps every sum twice (as two vector types) and half of them on the stack.
UMBEL_INLINE Words dot_int8(Words acc, Words a, Words b) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  return acc;
}
UMBEL_INLINE Vec whole_words(Words w) { return _mm512_cvtepi32_ps(w); }
UMBEL_INLINE Words set_words(int32_t value) { return _mm512_set1_epi32(value); }
UMBEL_INLINE void store_codes(int8_t* p, Vec v) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))); }
#endif

#elif defined(__AVX2__)

UMBEL_INLINE void keep(Vec& v) { __asm__ volatile("" : "+x"(v)); }
UMBEL_INLINE Vec broadcast(const float* p) { return _mm256_broadcast_ss(p); }
// Spelled out: the compiler's free choice of operand order costs moves and spills when all sixteen registers are in use.
UMBEL_INLINE void add_product(Vec& acc, Vec a, Vec b) { __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b)); }
UMBEL_INLINE Vec load_f16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
UMBEL_INLINE __m256i load_words(const uint32_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
UMBEL_INLINE Vec widen_even(const uint32_t* p) { return _mm256_castsi256_ps(_mm256_slli_epi32(load_words(p), 16)); }
UMBEL_INLINE Vec widen_odd(const uint32_t* p) {
  return _mm256_castsi256_ps(_mm256_and_si256(load_words(p), _mm256_set1_epi32((int)0xffff0000u)));
}
UMBEL_INLINE Vec byte_of(const uint32_t* p, int i) {
  const __m256i byte = _mm256_srl_epi32(load_words(p), _mm_cvtsi32_si128(8 * i));
  return _mm256_cvtepi32_ps(_mm256_and_si256(byte, _mm256_set1_epi32(255)));
}
struct Levels {
  Vec low;
  Vec high;
};
UMBEL_INLINE Levels load_levels(const float* levels) { return {load(levels), load(levels + 8)}; }
UMBEL_INLINE Vec look_up(const Levels& levels, __m256i index) {  // three bits choose a lane, the fourth one the half
  const Vec low = _mm256_permutevar8x32_ps(levels.low, index);
  const Vec high = _mm256_permutevar8x32_ps(levels.high, index);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
UMBEL_INLINE Vec look_up_low(const Levels& levels, const uint8_t* p) {
  return look_up(levels, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
UMBEL_INLINE Vec look_up_high(const Levels& levels, const uint8_t* p) {
  return look_up(levels, _mm256_srli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)), 4));
}
UMBEL_INLINE void transpose(Vec (&rows)[8]) {
  __m256 pairs[8];
  UMBEL_UNROLL
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  UMBEL_UNROLL
  for (int i = 0; i < 8; i += 4) {
    rows[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    rows[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    rows[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    rows[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
  UMBEL_UNROLL
  for (int c = 0; c < 4; ++c) {
    pairs[c] = _mm256_permute2f128_ps(rows[c], rows[4 + c], 0x20);
    pairs[4 + c] = _mm256_permute2f128_ps(rows[c], rows[4 + c], 0x31);
  }
  UMBEL_UNROLL
  for (int i = 0; i < 8; ++i) rows[i] = pairs[i];
}

#else

typedef uint32_t UnalignedWords __attribute__((vector_size(16), aligned(4), may_alias));
UMBEL_INLINE void keep(Vec& v) { __asm__ volatile("" : "+m"(v)); }
UMBEL_INLINE Vec broadcast(const float* p) { return set1(*p); }
UMBEL_INLINE void add_product(Vec& acc, Vec a, Vec b) { acc = fma(a, b, acc); }
UMBEL_INLINE UintVec load_words(const uint32_t* p) { return (UintVec) * (const UnalignedWords*)p; }
UMBEL_INLINE Vec widen_even(const uint32_t* p) { return (Vec)(load_words(p) << 16); }
UMBEL_INLINE Vec widen_odd(const uint32_t* p) { return (Vec)(load_words(p) & 0xffff0000u); }
UMBEL_INLINE Vec byte_of(const uint32_t* p, int i) {
  const UintVec byte = load_words(p) >> (unsigned)(8 * i) & 255u;
  return Vec{(float)byte[0], (float)byte[1], (float)byte[2], (float)byte[3]};
}
typedef const float* Levels;
UMBEL_INLINE Levels load_levels(const float* levels) { return levels; }
UMBEL_INLINE Vec look_up_low(Levels levels, const uint8_t* p) {
  return Vec{levels[p[0] & 15], levels[p[1] & 15], levels[p[2] & 15], levels[p[3] & 15]};
}
UMBEL_INLINE Vec look_up_high(Levels levels, const uint8_t* p) {
  return Vec{levels[p[0] >> 4], levels[p[1] >> 4], levels[p[2] >> 4], levels[p[3] >> 4]};
}
UMBEL_INLINE void transpose(Vec (&rows)[4]) {
  const Vec a = rows[0], b = rows[1], c = rows[2], d = rows[3];
  rows[0] = Vec{a[0], b[0], c[0], d[0]};
  rows[1] = Vec{a[1], b[1], c[1], d[1]};
  rows[2] = Vec{a[2], b[2], c[2], d[2]};
  rows[3] = Vec{a[3], b[3], c[3], d[3]};
}
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
