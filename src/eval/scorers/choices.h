// Choices scored by their log-likelihoods, as lm-evaluation-harness computes acc and acc_norm: the answer is the choice that is the most
// likely, in acc_norm after its log-likelihood was divided by its length in characters (the separator before it not counted). Of equal
// ones the first.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/scorers/options.h"
#include "eval/scorers/scorer.h"

namespace umbel::eval {

// An answer: {"choices": [text, ...], "log_likelihoods": [nats, ...]}; other fields mean nothing. Both of one length, not empty.
struct ChoiceAnswer {
  std::vector<std::string> choices;
  std::vector<double> log_likelihoods;
};
OrderedJson choice_answer_json(const ChoiceAnswer& answer);
// kInvalidArgument for anything else.
Result<ChoiceAnswer> read_choice_answer(const OrderedJson& json);

enum class ChoiceLength : uint8_t { kAny, kPerCharacter };
// Index of the answer. REQUIRES an answer as above.
size_t best_choice(const ChoiceAnswer& answer, ChoiceLength length);

// An answer that is none is wrong. A reference is the index of the right one, or its text.
std::unique_ptr<Scorer> choice_scorer(Options& options);
std::unique_ptr<Scorer> choice_norm_scorer(Options& options);

}  // namespace umbel::eval
