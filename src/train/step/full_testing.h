// What the tests of full training share: the recorders' formula for weights. Included by tests only.
#pragma once

#include <cstdint>
#include <string>

namespace umbel::testing {

// noise(count, name) of tools/record_pretrain_goldens.py: in [-1, 1), exact in f32.
inline float golden_noise(uint64_t index, const std::string& name) {
  uint64_t stream = 0;
  for (const char c : name) stream = (stream * 31 + static_cast<uint8_t>(c)) & 0xffffffffu;
  uint64_t x = (index * 2654435761u + stream) & 0xffffffffu;
  for (const uint64_t multiplier : {uint64_t{2246822519u}, uint64_t{3266489917u}}) x = (x ^ (x >> 15)) * multiplier & 0xffffffffu;
  x = (x ^ (x >> 13)) >> 8;
  return static_cast<float>(static_cast<double>(x) / (1 << 23) - 1.0);
}

}  // namespace umbel::testing
