// The quantised stored forms of a frozen weight and their arithmetic, one number at a time.
//
//   int8    per output: scale = largest |w| / 127, stored round(w / scale); read back as stored * scale
//   nf4     per 64 neighbouring inputs of an output: absmax = largest |w|, stored the index of the nearest of 16 levels
//           to w / absmax (QLoRA, arXiv:2305.14314; bitsandbytes' blocks without nested statistics); read back as
//           level * absmax
//   nf4-dq  nf4 with double quantisation, 4.127 instead of 4.5 bits a number: of 256 neighbouring absmax (row by row)
//           their difference from the mean of all is stored as one of 256 levels times the largest; read back as
//           level * largest + mean, two roundings
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "kernels/matmul_table.h"

namespace umbel::kernels {

enum class Quantisation : uint8_t { kNone, kInt8, kNf4, kNf4Dq };

std::string_view quantisation_name(Quantisation form);  // "none", "int8", "nf4", "nf4-dq"
inline bool is_nf4(Quantisation form) { return form == Quantisation::kNf4 || form == Quantisation::kNf4Dq; }

inline constexpr int64_t kAbsmaxBlock = 256;  // absmax that share their largest difference

// The levels, ascending.
inline constexpr float kNf4Levels[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// The index of the level nearest to value in [-1, 1]; halfway between two, the lower.
int nf4_code(float value);
// The 256 levels of a doubly quantised absmax in [-1, 1], ascending: bitsandbytes' signed dynamic map (8-bit optimizers,
// arXiv:2110.02861), seven decades with 1, 2, 4 ... 64 levels each.
const std::array<float, 256>& absmax_levels();
// The index of the level nearest to value in [-1, 1]. As bitsandbytes does on a CPU, value is first moved to the nearest
// of 65536 evenly spaced points; halfway between two levels, the lower.
uint8_t absmax_code(float value);
// stored for value at this scale, in [-127, 127]; 0 at scale 0.
int8_t int8_code(float value, float scale);

}  // namespace umbel::kernels
