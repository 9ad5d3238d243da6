// Conversations as examples: the chat template renders the whole, and the assistant's own words are trained.
#pragma once

#include "base/status.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/example.h"

namespace umbel {

struct Conversation {
  OrderedJson messages;         // [{role, content, ...}]; "train": false or "weight": 0 leaves a turn untrained
  OrderedJson tools = nullptr;  // array or null
  size_t first_trained = 0;     // turns before it are not trained
};

// Trained is what the template's {% generation %} blocks produce; without blocks, what every assistant turn adds to the
// conversation rendered up to it (its end-of-turn token included). A template that renders earlier turns differently once
// later ones exist is asked once more with each assistant content replaced: trained is then the content and the special
// token behind it. A token on the border of an untrained text is not trained. kUnsupported when none of it works.
Result<Example> encode_conversation(const Conversation& conversation, const Tokenizer& tokenizer, const ChatTemplate* chat_template);

// {"from", "value"} turns as messages: human, gpt, function_call, observation become user, assistant, assistant, tool.
Result<OrderedJson> sharegpt_messages(const OrderedJson& conversations, const OrderedJson* system);

}  // namespace umbel
