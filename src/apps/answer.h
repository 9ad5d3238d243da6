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

// A running request.
struct Asked {
  std::shared_ptr<Stream> stream;
  std::shared_ptr<const Tokenizer> tokenizer;  // the adapter's
  std::vector<int32_t> prompt_tail;  // the last ids of the prompt: the answer goes on from them, its first blank included
};

// Submits a request on this workshop: prompt ids, adapter by name.
Result<Asked> ask(Workshop& workshop, std::vector<int32_t> prompt, const std::string& adapter, const SamplingFlags& sampling);

// Reads the stream to its end; shows every new piece of text to `show` (may be empty).
Result<AnswerResult> read_answer(const Asked& asked, const std::vector<std::string>& stop,
                                 const std::function<void(const std::string&)>& show);

}  // namespace umbel::apps
