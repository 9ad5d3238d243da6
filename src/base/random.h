// Counter-based random numbers: a value is a pure function of (key, counter), so a stream never depends on who else
// draws, on threads or on order. Source: Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
// SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

namespace umbel {

// Ten Philox rounds over one 128-bit counter with a 64-bit key: four independent 32-bit words.
std::array<uint32_t, 4> philox(uint64_t key, std::array<uint32_t, 4> counter);

// Mixes words into one 64-bit key (SplitMix64 finaliser chain); used to derive a stream from e.g. {seed, step, row}.
uint64_t mix_key(std::initializer_list<uint64_t> words);

// A sequential reader of one stream. Copyable; two copies give the same values. Not thread-safe.
class Random {
 public:
  explicit Random(uint64_t key) : key_(key) {}

  uint32_t next_u32();
  uint64_t next_u64();
  // [0, 1) with 53 bits.
  double next_double();
  // [0, bound), unbiased. REQUIRES bound > 0.
  uint64_t next_below(uint64_t bound);
  // Standard normal (Box-Muller).
  double next_normal();
  // An independent stream, a pure function of this stream's key and the word.
  Random split(uint64_t word) const { return Random(mix_key({key_, word})); }

 private:
  uint64_t key_;
  uint64_t block_ = 0;
  std::array<uint32_t, 4> words_{};
  int left_ = 0;
};

}  // namespace umbel
