// One assistant's turn of a conversation, as texts: what a server would send before it, and the turn.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "text/chat_template.h"

namespace umbel::data {

struct ChatTurn {
  std::string prompt, answer;
  // Byte ranges in prompt + answer that {% generation %} blocks produced; absent blocks: the answer.
  std::vector<ChatText::Span> trained;
};

// What a server renders before turn `index`: the messages before it, with the generation prompt.
Result<std::string> prompt_of(const OrderedJson& messages, const OrderedJson& tools, size_t index, const ChatTemplate& chat_template);

// Of messages[index], rendered as the last one. See chat_rows.h.
Result<ChatTurn> render_turn(const OrderedJson& messages, const OrderedJson& tools, size_t index, const ChatTemplate& chat_template);

}  // namespace umbel::data
