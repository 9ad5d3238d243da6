// How a checkpoint's generation_config.json becomes a request's sampling: decided here, for the server and for every verb.
//
// do_sample false: greedy. do_sample true, or a temperature without do_sample: sampled at that temperature (1 when none is given).
// A file that says neither leaves it to the surface. The other fields apply as they stand, to greedy answers too where they can
// change one (repetition_penalty).
#pragma once

#include <cstdint>

#include "engine/request.h"
#include "models/generation_config.h"

namespace umbel {

// Where neither the file nor the request says: OpenAI's API samples at temperature 1, the terminal's verbs take the likeliest token.
enum class Unsaid : uint8_t { kSampled, kGreedy };

SamplingParams default_sampling(const SamplingDefaults& defaults, Unsaid unsaid);

}  // namespace umbel
