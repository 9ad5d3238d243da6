// Answer: one running request read from its stream as text, with stop strings. For the command line; one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/sampling_flags.h"
#include "apps/workshop.h"
#include "engine/engine.h"
#include "text/detokenizer.h"
#include "text/stop.h"

namespace umbel::apps {

struct AnswerResult {
  std::string text;
  std::vector<int32_t> token_ids;
  FinishReason finish = FinishReason::kNone;
  int32_t prompt_tokens = 0;
  RequestTimes times;
};

std::string_view finish_name(FinishReason reason);  // "length", "stop", ...

// A request on this workshop: prompt ids, adapter by name.
Result<Request> make_request(Workshop& workshop, std::vector<int32_t> prompt, const std::string& adapter,
                             const SamplingFlags& sampling);

// Reads the stream to its end; shows every new piece of text to `show` (may be empty).
Result<AnswerResult> read_answer(Workshop& workshop, Stream& stream, const std::vector<std::string>& stop,
                                 const std::function<void(const std::string&)>& show);

}  // namespace umbel::apps
