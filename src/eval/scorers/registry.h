// The list of scorers: every name that a task's file or --scorer may say.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "eval/scorers/scorer.h"

namespace umbel::eval {

class Options;

// What a row's score is: 0 or 1 (pairs are compared by McNemar's test, intervals are Wilson's) or a number (paired bootstrap).
enum class Outcome : uint8_t { kRightWrong, kGraded };
enum class Better : uint8_t { kHigher, kLower };
// Whether the blanks around an answer mean nothing. Those before a program do.
enum class Blanks : uint8_t { kTrimmed, kKept };
// What an answer is: a text, or the log-likelihoods of a row's choices (choices.h).
enum class Takes : uint8_t { kText, kLogLikelihoods };

struct ScorerEntry {
  const char* name;
  const char* what;  // one line
  Outcome outcome = Outcome::kRightWrong;
  Better better = Better::kHigher;
  std::unique_ptr<Scorer> (*make)(Options& options) = nullptr;
  Blanks blanks = Blanks::kTrimmed;  // of an exam's answers; a scorer takes texts as they are
  Takes takes = Takes::kText;
};

std::span<const ScorerEntry> scorer_entries();
// kNotFound, with the name that was probably meant.
Result<const ScorerEntry*> find_scorer(const std::string& name);
// options: a map or null. kInvalidArgument for those that the scorer does not have.
Result<std::unique_ptr<Scorer>> make_scorer(const std::string& name, const OrderedJson& options);

}  // namespace umbel::eval
