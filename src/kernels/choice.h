// Which instructions and which arithmetic this process uses: decided once at start, printed, forceable (house habit 7).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace umbel::kernels {

// Instruction sets in rising order; each has its own leaf file cpu/target_*.cc.
enum class Isa { kGeneric, kAvx2, kAvx512, kAmx };
// How a product with 16-bit weights is computed, and its gradient. f32 weights are always kF32Fma. One per process and stored
// form, the same for every M.
//   kF32Fma   weights widened to f32, f32 fused multiply-add, k ascending
//   kBf16Dot  activations (gradients) rounded to bf16 once, VDPBF16PS over pairs of k ascending (AVX512-BF16)
//   kAmxBf16  activations (gradients) rounded to bf16 once, TDPBF16PS tiles (AMX)
// And with int8 weights:
//   kF32Fma   weights widened to f32
//   kInt8Dot  activations rounded to 8 bits, 64 neighbours of a row with one scale, VPDPBUSD (AVX512-VNNI): sums of 64 products are
//             exact whole numbers, then f32 fused multiply-add in ascending k. Gradients as kF32Fma.
enum class Arithmetic { kF32Fma, kBf16Dot, kAmxBf16, kInt8Dot };

std::string_view isa_name(Isa isa);                // "generic", "avx2", "avx512", "amx"
std::string_view arithmetic_name(Arithmetic kind);  // "f32-fma", "bf16-dot", "amx-bf16", "int8-dot"

struct Choice {
  Isa isa = Isa::kGeneric;
  Arithmetic arithmetic = Arithmetic::kF32Fma;  // of 16-bit weights
  Arithmetic int8 = Arithmetic::kF32Fma;        // of int8 weights
  std::string reason;  // "measured: bf16-dot 610 GFLOP/s, f32-fma 305 GFLOP/s", "forced by --isa", "stored ..."
};

struct ChoiceOptions {
  std::string isa = "auto";         // "auto" or an isa_name
  std::string arithmetic = "auto";  // "auto" or an arithmetic_name
  // Folder where a measured choice is stored per machine and read back ("" = do not store). Default: the user's cache
  // folder, umbel/.
  std::string cache_dir;
};

// What this machine and its kernel can really run (AMX includes asking for permission), in rising order.
std::vector<Isa> available_isas();
std::vector<Arithmetic> available_arithmetics(Isa isa);  // of 16-bit weights
Arithmetic int8_arithmetic(Isa isa);                     // kInt8Dot where the machine has it: it is always the faster one

// The user's cache folder for umbel ($XDG_CACHE_HOME or ~/.cache, plus /umbel).
std::string default_cache_dir();

// kInvalidArgument for an unknown name, kUnsupported for one that this machine can't run (the message lists what it can).
Result<Choice> choose(const ChoiceOptions& options);

}  // namespace umbel::kernels
