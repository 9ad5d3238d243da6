// Shared: what all handlers of one server share. Outlives the door.
#pragma once

#include "serve/end_token_shelf.h"
#include "serve/metrics.h"
#include "serve/parts.h"
#include "serve/prompt_shelf.h"
#include "serve/template_shelf.h"
#include "serve/tokenizer_shelf.h"
#include "serve/work_pool.h"

namespace umbel::serve {

struct Shared {
  const ServeParts& parts;
  const ServeOptions& options;
  Metrics& metrics;
  TokenizerShelf& tokenizers;
  TemplateShelf& templates;
  EndTokenShelf& end_tokens;
  PromptShelf& prompts;
  WorkPool& work;
};

}  // namespace umbel::serve
