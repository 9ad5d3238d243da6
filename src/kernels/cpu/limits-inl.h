// Yardsticks of one ISA: what its units and the memory give when nothing else stands in the way.
#pragma once

namespace umbel::kernels::UMBEL_TARGET {

constexpr int kPeakChains = kRegisters >= 32 ? 24 : 12;  // more than latency times units on any machine we know

static double peak_f32(int64_t steps) {
  float seed[2] = {0.5f, 0.5f};
  __asm__("" : "+m"(seed));
  const Vec a = set1(seed[0]);
  const Vec b = set1(seed[1]);
  Vec acc[kPeakChains];
  UMBEL_UNROLL
  for (int c = 0; c < kPeakChains; ++c) {
    acc[c] = a;
    keep(acc[c]);  // or equal chains become one
  }
  for (int64_t i = 0; i < steps; ++i) {
    UMBEL_UNROLL
    for (int c = 0; c < kPeakChains; ++c) acc[c] = fma(acc[c], a, b);
  }
  UMBEL_UNROLL
  for (int c = 0; c < kPeakChains; ++c) keep(acc[c]);
  return 2.0 * kLanes * kPeakChains * (double)steps;
}

#if UMBEL_HAS_BF16_DOT
static double peak_bf16_dot(int64_t steps) {
  uint32_t seed = 0x3f003f00u;
  __asm__("" : "+r"(seed));
  const Words a = broadcast_words(&seed);
  Vec acc[kPeakChains];
  UMBEL_UNROLL
  for (int c = 0; c < kPeakChains; ++c) {
    acc[c] = zero();
    keep(acc[c]);
  }
  for (int64_t i = 0; i < steps; ++i) {
    UMBEL_UNROLL
    for (int c = 0; c < kPeakChains; ++c) acc[c] = dot_bf16(acc[c], a, a);
  }
  UMBEL_UNROLL
  for (int c = 0; c < kPeakChains; ++c) keep(acc[c]);
  return 4.0 * kLanes * kPeakChains * (double)steps;
}
#endif

#if UMBEL_HAS_INT8_DOT
static double peak_int8_dot(int64_t steps) {
  uint32_t seed = 0x01010101u;
  __asm__("" : "+r"(seed));
  const Words a = broadcast_words(&seed);
  Words acc[kPeakChains];
  UMBEL_UNROLL
  for (int c = 0; c < kPeakChains; ++c) {
    acc[c] = a;
    keep(acc[c]);
  }
  for (int64_t i = 0; i < steps; ++i) {
    UMBEL_UNROLL
    for (int c = 0; c < kPeakChains; ++c) acc[c] = dot_int8(acc[c], a, a);
  }
  UMBEL_UNROLL
  for (int c = 0; c < kPeakChains; ++c) keep(acc[c]);
  return 8.0 * kLanes * kPeakChains * (double)steps;
}
#endif

static uint64_t read_words(const void* bytes, int64_t count) {
  const char* p = (const char*)bytes;
  Vec acc[4] = {zero(), zero(), zero(), zero()};
  for (int64_t i = 0; i < count; i += 256) {
    prefetch(p + i + 2048);
    prefetch(p + i + 2048 + 64);
    prefetch(p + i + 2048 + 128);
    prefetch(p + i + 2048 + 192);
    UMBEL_UNROLL
    for (int v = 0; v < 64 / kLanes; ++v) acc[v % 4] = add(acc[v % 4], load((const float*)(p + i) + v * kLanes));
  }
  const float sum = reduce_add(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
  uint32_t bits;
  __builtin_memcpy(&bits, &sum, sizeof(bits));
  return bits;
}

}  // namespace umbel::kernels::UMBEL_TARGET
