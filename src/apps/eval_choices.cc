#include "apps/eval_choices.h"

#include <algorithm>

#include "data/continuation.h"
#include "engine/room.h"
#include "eval/exam/chosen.h"
#include "eval/scorers/choices.h"

namespace umbel::apps {
namespace {

struct Ids {
  std::vector<TokenId> all;
  size_t scored_from = 0;
};

Result<Ids> ids_of(const Workshop& shop, const Tokenizer& tokenizer, const std::string& prompt, const std::string& choice, bool with_end) {
  ASSIGN_OR_RETURN(const data::Continuation pair, data::encode_together(tokenizer, prompt, choice));
  Ids ids{.scored_from = pair.prompt_tokens};
  for (const TokenSpan& token : pair.tokens) ids.all.push_back(token.id);
  if (ids.all.size() == ids.scored_from) return invalid_argument("the choice \"" + choice + "\" has no token of its own behind the prompt");
  if (with_end) add_end_token(shop, ids.all);
  return ids;
}

// Leaves the prompt's beginning out where there is no room; false when there is.
Result<bool> cut_to_room(Ids& ids, int64_t room) {
  const int64_t too_many = static_cast<int64_t>(ids.all.size()) - room;
  if (too_many <= 0) return false;
  if (too_many >= static_cast<int64_t>(ids.scored_from)) return invalid_argument("a choice alone has more tokens than a context of " + std::to_string(room));
  ids.all.erase(ids.all.begin(), ids.all.begin() + static_cast<std::ptrdiff_t>(too_many));
  ids.scored_from -= static_cast<size_t>(too_many);
  return true;
}

Result<eval::ScoredTokens> read_tokens(const AskedScore& asked) {
  ASSIGN_OR_RETURN(const std::vector<TokenLogprobs> tokens, read_score(asked));
  eval::ScoredTokens scored{.ids = asked.ids, .logprobs = {}};
  for (const TokenLogprobs& token : tokens) scored.logprobs.push_back(token.logprob);
  return scored;
}

}  // namespace

Result<AskedChoices> ask_choices(Workshop& shop, const eval::ExamTask& task, const eval::TaskRow& row, const std::string& adapter) {
  ASSIGN_OR_RETURN(const auto tokenizer, tokenizer_of(shop, adapter));
  ASSIGN_OR_RETURN(const AdapterRef ref, find_adapter(shop, adapter));
  AskedChoices asked;
  for (const std::string& choice : row.choices) {
    ASSIGN_OR_RETURN(Ids ids, ids_of(shop, *tokenizer, row.prompt, task.before_choice + choice, task.ask == eval::AskKind::kChoose));
    ASSIGN_OR_RETURN(const bool cut, cut_to_room(ids, request_tokens_max(shop.engine->limits())));
    asked.cut |= cut;
    asked.prompt_tokens = std::max(asked.prompt_tokens, static_cast<int64_t>(ids.scored_from));
    ASSIGN_OR_RETURN(AskedScore one, ask_score(shop, std::move(ids.all), ids.scored_from, ref));
    asked.choices.push_back(std::move(one));
  }
  return asked;
}

Result<eval::AnswerRecord> read_choices(const AskedChoices& asked, const eval::ExamTask& task, const eval::TaskRow& row) {
  std::vector<eval::ScoredTokens> scored;
  eval::AnswerRecord record{.finish = "scored", .prompt_tokens = asked.prompt_tokens, .cut = asked.cut};
  for (const AskedScore& one : asked.choices) {
    ASSIGN_OR_RETURN(eval::ScoredTokens tokens, read_tokens(one));
    record.answer_tokens += static_cast<int64_t>(tokens.ids.size());
    scored.push_back(std::move(tokens));
  }
  if (task.ask == eval::AskKind::kChoose) {
    record.answer = row.choices[eval::greedy_choice(scored)];
    return record;
  }
  eval::ChoiceAnswer answer{.choices = row.choices, .log_likelihoods = {}};
  for (const eval::ScoredTokens& tokens : scored) answer.log_likelihoods.push_back(eval::log_likelihood(tokens));
  record.answer = eval::choice_answer_json(answer).dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  return record;
}

}  // namespace umbel::apps
