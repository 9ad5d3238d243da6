// LoRAX request bodies read into an Ask. Source: the GenerateRequest of LoRAX 0.12 (parameter names, defaults, ranges).
#pragma once

#include "serve/ask.h"
#include "serve/fields.h"
#include "serve/parts.h"
#include "serve/refusal.h"

namespace umbel::serve {

struct LoraxAsk {
  Ask ask;
  bool sampled = false;  // the seed is shown in details
  bool details = false;
  bool prefill_details = false;  // decoder_input_details
  bool full_text = false;        // return_full_text
  int32_t alternatives = 0;      // return_k_alternatives
  std::vector<std::string> unknown_fields;  // that nobody reads
};

// stream_by_route: /generate_stream streams, /generate does not, / looks at the field "stream".
enum class LoraxStream : uint8_t { kNever, kAlways, kField };

Outcome<LoraxAsk> parse_lorax(const Json& body, LoraxStream stream_by_route, const ServeOptions& options);

}  // namespace umbel::serve
