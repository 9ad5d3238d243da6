// A message's content that comes in parts, as one text: parts of text, joined by line breaks. Requests and training rows read it here.
#pragma once

#include <string>

#include "base/status.h"
#include "io/json.h"

namespace umbel {

// kTyped: every part is {"type": "text", "text": ...}, as OpenAI's API has it. kLoose: a part may also be a text, or lack its type, as
// training rows have them.
enum class PartForms : uint8_t { kTyped, kLoose };

struct JoinedContent {
  std::string text;
  // What is wrong with the first part that can't be read: kInvalidArgument, or kUnsupported for a type other than text.
  Status status;
  std::string at;    // "[2]", "[2].type", "[2].text"
  std::string type;  // of an unsupported part
};

// parts: an array.
JoinedContent join_content_parts(const OrderedJson& parts, PartForms forms);

}  // namespace umbel
