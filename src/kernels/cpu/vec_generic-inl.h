// Vec for the baseline: four f32 lanes through the compiler's vector extension (SSE2 on x86-64), no fused multiply-add.
// Included by target_generic.cc inside its namespace; the operations are those of vec_avx512-inl.h.
#pragma once

#define UMBEL_INLINE static inline __attribute__((always_inline, unused))

namespace umbel::kernels::UMBEL_TARGET {

typedef float Vec __attribute__((vector_size(16)));
typedef float UnalignedVec __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(16)));
typedef uint32_t UintVec __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kRegisters = 16;

UMBEL_INLINE Vec set1(float value) { return Vec{value, value, value, value}; }
UMBEL_INLINE Vec zero() { return set1(0.0f); }
UMBEL_INLINE Vec load(const float* p) { return *(const UnalignedVec*)p; }
UMBEL_INLINE void store(float* p, Vec v) { *(UnalignedVec*)p = v; }
UMBEL_INLINE Vec load_partial(const float* p, int n) {
  Vec v = zero();
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
UMBEL_INLINE void store_partial(float* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
UMBEL_INLINE Vec load(const uint16_t* p) {
  return (Vec)(UintVec{(uint32_t)p[0] << 16, (uint32_t)p[1] << 16, (uint32_t)p[2] << 16, (uint32_t)p[3] << 16});
}
UMBEL_INLINE Vec load_partial(const uint16_t* p, int n) {
  UintVec v = {0, 0, 0, 0};
  for (int i = 0; i < n; ++i) v[i] = (uint32_t)p[i] << 16;
  return (Vec)v;
}
UMBEL_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
UMBEL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return c - a * b; }
UMBEL_INLINE Vec add(Vec a, Vec b) { return a + b; }
UMBEL_INLINE Vec sub(Vec a, Vec b) { return a - b; }
UMBEL_INLINE Vec mul(Vec a, Vec b) { return a * b; }
UMBEL_INLINE Vec div(Vec a, Vec b) { return a / b; }
UMBEL_INLINE Vec select(IntVec mask, Vec a, Vec b) { return (Vec)((mask & (IntVec)a) | (~mask & (IntVec)b)); }
UMBEL_INLINE Vec max(Vec a, Vec b) { return select((IntVec)(a > b), a, b); }
UMBEL_INLINE Vec min(Vec a, Vec b) { return select((IntVec)(a < b), a, b); }
UMBEL_INLINE Vec sqrt(Vec a) {
  Vec v = zero();
  for (int i = 0; i < kLanes; ++i) v[i] = __builtin_sqrtf(a[i]);
  return v;
}
UMBEL_INLINE float reduce_add(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
UMBEL_INLINE float reduce_max(Vec v) {
  const float a = v[0] > v[2] ? v[0] : v[2];
  const float b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}
UMBEL_INLINE Vec select_range(Vec a, Vec fill, int begin, int end) {
  const IntVec lane = {0, 1, 2, 3};
  const IntVec b = {begin, begin, begin, begin};
  const IntVec e = {end, end, end, end};
  return select((IntVec)(lane >= b) & (IntVec)(lane < e), a, fill);
}
UMBEL_INLINE int first_at_least(Vec a, Vec bound) {
  for (int i = 0; i < kLanes; ++i) {
    if (a[i] >= bound[i]) return i;
  }
  return -1;
}
UMBEL_INLINE Vec round_nearest(Vec a) {  // |a| < 2^22
  const Vec magic = set1(12582912.0f);
  return (a + magic) - magic;
}
// p * 2^n for whole n in [-160, 160], with gradual underflow and overflow to infinity.
UMBEL_INLINE Vec scale_by_power(Vec p, Vec n) {
  const IntVec whole = __builtin_convertvector(n, IntVec);
  const IntVec half = whole >> 1;
  const Vec low = (Vec)((half + 127) << 23);
  const Vec high = (Vec)((whole - half + 127) << 23);
  return p * low * high;
}
UMBEL_INLINE void store_bf16(uint16_t* p, Vec v) {
  const UintVec bits = (UintVec)v;
  const UintVec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const UintVec quiet = (bits >> 16) | 0x40u;
  const UintVec nan = (UintVec)((IntVec)(v != v));
  const UintVec result = (nan & quiet) | (~nan & rounded);
  for (int i = 0; i < kLanes; ++i) p[i] = (uint16_t)result[i];
}
UMBEL_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }
UMBEL_INLINE void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace umbel::kernels::UMBEL_TARGET
