// Rows of questions for generate and score: read as the adapters' own folders say (umbel_prompt.json, chat_template.jinja), else as flags do.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "apps/workshop.h"
#include "data/questions.h"

namespace umbel::apps {

// --columns.
void declare_columns(CLI::App& verb, std::vector<std::string>& columns);

struct RowFlags {
  std::string format = "auto", prompt_template, completion_template;
  std::vector<std::string> columns;

  void declare(CLI::App& verb);
};

// The base's words; adapters: the folder of adapters, may be empty. Template flags win over an adapter's file.
Result<std::vector<data::Question>> read_question_file(const Path& file, const BaseModel& base, const std::string& adapters, const RowFlags& flags,
                                                       data::QuestionOptions options);

// Ids that are sent for a question's prompt.
Result<std::vector<TokenId>> prompt_ids(const Tokenizer& tokenizer, const data::RowQuestion& question);

// What a run of questions came to, in all and for every adapter.
struct Tally {
  int64_t rows = 0, expected = 0, exact = 0;
  int64_t tokens = 0, hit = 0;  // scored tokens, and those that were the most likely
  double log_likelihood = 0;
};
using Tallies = std::map<std::string, Tally>;  // by adapter, "" = the base

// {"rows", "exact_match", "token_accuracy", "nll_per_token", "adapters": {name: ...}}, fields without figures left out.
Json tallies_json(const Tallies& tallies);
// A line for all, and one an adapter where there are several.
void print_tallies(const Tallies& tallies);

// Without the white space around it.
std::string trimmed(const std::string& text);

}  // namespace umbel::apps
