// Combining LoRA adapters of one base into one new LoRA adapter. The same rules as PEFT's add_weighted_adapter (PEFT
// 0.21), so that results can be compared; for adapters i with factors A_i, B_i, scale s_i and weight w_i:
//
//   cat          A = [w_1 s_1 A_1; w_2 s_2 A_2; ...], B = [B_1, B_2, ...]: exactly the weighted sum of all dW; ranks add up
//   linear       A = sum sign(w_i s_i) sqrt|w_i s_i| A_i, B = sum sqrt|w_i s_i| B_i: cheap, but B A has products of
//                different adapters in it, so it is not the sum of the dW
//   ties         each factor's entries: keep the `density` largest by magnitude of every adapter; elect the sign of the
//                sum of what is left (`total`) or of the sum of signs (`frequency`); average the weighted entries that
//                have it (TIES-Merging, arXiv:2306.01708)
//   dare_linear  each factor's entries: keep each with probability `density` and divide by it, then as linear
//   dare_ties    the same, then elect and average as in ties (DARE, arXiv:2311.03099)
//
// The new adapter's scale is 1 (alpha = rank) everywhere.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/lora_modules.h"

namespace umbel {

enum class CombineMethod : uint8_t { kLinear, kCat, kTies, kDareLinear, kDareTies };
enum class MajoritySign : uint8_t { kTotal, kFrequency };

struct CombineOptions {
  CombineMethod method = CombineMethod::kLinear;
  std::vector<double> weights;  // one for each adapter
  double density = 0.5;         // (0, 1]: ties and dare only
  MajoritySign sign = MajoritySign::kTotal;
  uint64_t seed = 0;  // of DARE's masks
};

// "linear", "cat", "ties", "dare_linear", "dare_ties".
Result<CombineMethod> parse_combine_method(std::string_view name);

// A module that some adapters lack is made of those that have it. kFailedPrecondition: shapes of a module differ
// between the adapters; kInvalidArgument: the options do not fit, or ranks differ where the method needs equal ones.
Result<LoraModules> combine(std::span<const LoraModules> adapters, const CombineOptions& options);

// The rules for one flat factor, for tests and for combine(). entries: of each adapter, all of one size.
// Of the entries of one adapter, the `density` share with the largest magnitude stays (of equals, the first), in place.
void keep_largest(std::span<float> entries, double density);
// Every entry stays with probability `density`, divided by it; else 0. The draw of entry i depends on (key, i) only.
void keep_random(std::span<float> entries, double density, uint64_t key);
// sum_i w_i x_i.
std::vector<float> weighted_sum(std::span<const std::vector<float>> entries, std::span<const double> weights);
// The mean of w_i x_i over those i whose x_i has the elected sign; 0 where there is none.
std::vector<float> elected_mean(std::span<const std::vector<float>> entries, std::span<const double> weights, MajoritySign sign);

}  // namespace umbel
