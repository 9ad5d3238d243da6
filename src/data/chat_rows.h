// Conversations as examples: for every trained turn what inference would see before it, and then the turn.
#pragma once

#include <vector>

#include "base/status.h"
#include "data/example.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::data {

struct Conversation {
  OrderedJson messages;         // as read_messages() gives them; "train": false or "weight": 0 leaves a turn untrained
  OrderedJson tools = nullptr;  // array or null
  size_t first_trained = 0;     // turns before it are not trained
  int64_t length_max = 0;       // tokens behind which no further turn is looked at; 0 = none
};

// Of an assistant's turn the prompt is the conversation before it with the generation prompt, as a server would render it, and
// the turn is what it adds to that (its end-of-turn token included). Its ids go on from the prompt's (continuation.h). Trained
// are the tokens that overlap {% generation %} blocks of the turn; without blocks all of the turn's.
//
// Turns share an example as long as the ids of the later prompt begin with the earlier example's; where they do not (a template
// that drops earlier reasoning, a token that reaches over a turn's border) the later turn begins an example of its own. So a row is one
// example or more, in the order of the turns, each turn trained once. What stands behind the last trained turn is left out.
//
// A turn that does not begin with its generation prompt (it opens the conversation; the template writes past turns in another way)
// is what its content becomes and all behind it: its prompt is the generation prompt where the two differ by blanks, or by an opening
// <think> that the content brings itself; else what the template writes before the content. kUnsupported when the content can't
// be told apart.
struct ConversationRows {
  std::vector<Example> examples;
  int64_t turns_left_out = 0;  // trained ones whose prompt is length_max or more
};
Result<ConversationRows> encode_conversation(const Conversation& conversation, const Tokenizer& tokenizer, const ChatTemplate* chat_template);

}  // namespace umbel::data
