// Rows of choices on a workshop's engine: every choice is scored behind the prompt, token by token.
#pragma once

#include <string>
#include <vector>

#include "apps/scored.h"
#include "apps/workshop.h"
#include "eval/exam/results.h"

namespace umbel::apps {

// A row that is being scored: one request a choice.
struct AskedChoices {
  std::vector<AskedScore> choices;  // the end token last where it counts
  int64_t prompt_tokens = 0;  // without those that are scored
  bool cut = false;
};

// Where prompt and choice together have no room, the beginning of the prompt is left out, as lm-evaluation-harness does.
Result<AskedChoices> ask_choices(Workshop& shop, const eval::ExamTask& task, const eval::TaskRow& row, const std::string& adapter);
// kLikelihood: an answer of eval/scorers/choices.h; kChoose: the text that greedy decoding would write (eval/exam/chosen.h).
Result<eval::AnswerRecord> read_choices(const AskedChoices& asked, const eval::ExamTask& task, const eval::TaskRow& row);

}  // namespace umbel::apps
