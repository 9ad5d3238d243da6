#include "data/chat_rows.h"

#include <algorithm>

#include "data/chat_turn.h"
#include "data/continuation.h"
#include "data/turn_end.h"

namespace umbel::data {
namespace {

bool is_trained(const Conversation& conversation, size_t index) {
  const OrderedJson& turn = conversation.messages[index];
  if (index < conversation.first_trained || turn["role"] != "assistant") return false;
  if (const auto train = turn.find("train"); train != turn.end() && train->is_boolean() && !train->get<bool>()) return false;
  const auto weight = turn.find("weight");
  return weight == turn.end() || !weight->is_number() || weight->get<double>() != 0;
}

bool touches(const TokenSpan& token, const ChatText::Span& span) {
  if (token.begin == token.end) return token.begin >= span.begin && token.begin < span.end;
  return token.begin < span.end && token.end > span.begin;
}

struct TurnExample {
  Example example;
  size_t prompt_tokens = 0;
};

// The turn as an example of its own.
Result<TurnExample> encode_turn(const ChatTurn& turn, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const Continuation row, encode_continuation(tokenizer, turn.prompt, turn.answer, Specials::kWritten));
  const bool whole_answer = turn.trained.size() == 1 && turn.trained.front().begin == turn.prompt.size() &&
                            turn.trained.front().end == turn.prompt.size() + turn.answer.size();
  TurnExample made{.prompt_tokens = row.prompt_tokens};
  for (size_t i = 0; i < row.tokens.size(); ++i) {
    const TokenSpan& token = row.tokens[i];
    const bool inside = std::any_of(turn.trained.begin(), turn.trained.end(), [&](const auto& span) { return touches(token, span); });
    made.example.tokens.push_back(token.id);
    // A whole answer needs no offsets, which some tokenizers give without blanks.
    made.example.trained.push_back((whole_answer ? i >= row.prompt_tokens : inside) ? 1 : 0);
  }
  return made;
}

// Whether `next` goes on from all that `example` trains; then its flags become next's.
bool take_over(const Example& example, Example& next, const Tokenizer& tokenizer) {
  const auto [end, ignored] = std::mismatch(example.tokens.begin(), example.tokens.end(), next.tokens.begin(), next.tokens.end());
  const auto common = static_cast<size_t>(end - example.tokens.begin());
  if (common < trained_end(example, tokenizer)) return false;
  for (size_t i = 0; i < common; ++i) next.trained[i] |= example.trained[i];
  return true;
}

}  // namespace

Result<ConversationRows> encode_conversation(const Conversation& conversation, const Tokenizer& tokenizer, const ChatTemplate* chat_template) {
  if (chat_template == nullptr) {
    return invalid_argument("rows of messages need a chat template, and the base has none (chat_template.jinja or tokenizer_config.json)");
  }
  ConversationRows rows;
  bool full = false;
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    if (!is_trained(conversation, i)) continue;
    if (full) {
      ++rows.turns_left_out;
      continue;
    }
    ASSIGN_OR_RETURN(const ChatTurn turn, render_turn(conversation.messages, conversation.tools, i, *chat_template));
    ASSIGN_OR_RETURN(TurnExample next, encode_turn(turn, tokenizer));
    full = conversation.length_max > 0 && static_cast<int64_t>(next.prompt_tokens) >= conversation.length_max;
    if (full && !rows.examples.empty()) {
      ++rows.turns_left_out;  // prompts only grow
    } else if (!rows.examples.empty() && take_over(rows.examples.back(), next.example, tokenizer)) {
      rows.examples.back() = std::move(next.example);
    } else {
      rows.examples.push_back(std::move(next.example));
    }
  }
  if (rows.examples.empty()) return invalid_argument("no trained token: the conversation has no assistant's turn to train on");
  return rows;
}

}  // namespace umbel::data
