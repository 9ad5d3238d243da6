// Conversations in the forms that strangers write them, as one list of messages.
#pragma once

#include "base/status.h"
#include "text/chat_template.h"

namespace umbel::data {

// A list, or the JSON text of one (as tables hold it). Null and a blank text are the empty list. kInvalidArgument, naming the
// field, for anything else.
Result<OrderedJson> read_list(const OrderedJson& value, const char* field);

// The turns of "messages" or "conversations": [{role, content}] or [{from, value}], also mixed; human, gpt and the like become
// user and assistant, function_call assistant, function, observation and tool_response tool. Other fields of a turn stay (name,
// tool_calls, train, weight, reasoning_content). Content parts of type text are joined by line breaks, as the server joins
// them; other parts are refused by name. Arguments of tool_calls that are JSON in a text become JSON. `field` names the list in
// errors; the list may be a JSON text (read_list); system, where it is a text and no first turn is a system's, becomes the first turn.
Result<OrderedJson> read_messages(const OrderedJson& turns, const char* field, const OrderedJson& system = nullptr);

// The row's "tools" (read_list), whose elements may be JSON texts too. Null when there are none.
Result<OrderedJson> read_tools(const OrderedJson& row);

}  // namespace umbel::data
