// RequestLimits: how many, and how long, the lists of one request may be. The one table; docs/serving.md repeats it.
#pragma once

#include <cstddef>

namespace umbel::serve {

struct RequestLimits {
  int choices_max = 128;  // prompts x max(n, best_of)
  int best_of_max = 16;
  int logprobs_max = 20;
  size_t stops_max = 64;
  size_t stop_bytes_max = 4096;                     // of one stop string; so much of an answer may be held back
  size_t stops_bytes_max = size_t{64} << 10;        // of all stop strings together
  size_t stop_ids_max = 1024;
  size_t logit_bias_max = 1024;
  size_t messages_max = 10000;
  size_t content_parts_max = 10000;                 // of one message
};

}  // namespace umbel::serve
