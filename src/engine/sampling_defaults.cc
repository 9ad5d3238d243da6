#include "engine/sampling_defaults.h"

#include <algorithm>

namespace umbel {
namespace {

float temperature_of(const SamplingDefaults& defaults, Unsaid unsaid) {
  if (!defaults.do_sample.value_or(true)) return 0;
  const bool said = defaults.do_sample.has_value() || defaults.temperature.has_value();
  if (!said && unsaid == Unsaid::kGreedy) return 0;
  return static_cast<float>(defaults.temperature.value_or(1.0));
}

}  // namespace

SamplingParams default_sampling(const SamplingDefaults& defaults, Unsaid unsaid) {
  SamplingParams params;
  params.temperature = temperature_of(defaults, unsaid);
  params.top_k = static_cast<int32_t>(std::clamp<int64_t>(defaults.top_k.value_or(0), 0, INT32_MAX));
  params.top_p = static_cast<float>(defaults.top_p.value_or(1.0));
  params.min_p = static_cast<float>(defaults.min_p.value_or(0.0));
  params.typical_p = static_cast<float>(defaults.typical_p.value_or(1.0));
  params.repetition_penalty = static_cast<float>(defaults.repetition_penalty.value_or(1.0));
  return params;
}

}  // namespace umbel
