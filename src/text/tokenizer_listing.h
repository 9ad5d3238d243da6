// What a tokenizer.json lists: its tokens and their ids, read as a stream. Nothing else of it is kept or run, so that a stranger's
// file costs its own size in memory and time, whatever it holds.
#pragma once

#include <functional>
#include <string_view>

#include "base/status.h"
#include "io/json.h"

namespace umbel {

// One token: id is a number where the file has one; entry has the other plain fields of one of its added_tokens ("special",
// "lstrip", ...), and is an empty object for one of its vocabulary. An error ends the reading.
using ListedToken = std::function<Status(std::string_view token, const Json& id, Json entry)>;

// model.vocab ({token: id}, or a list of [token, score] in the order of ids) and added_tokens, in the order of the text.
// kInvalidArgument: not JSON, or lists of another form. what names the file.
Status read_tokenizer_listing(std::string_view text, std::string_view what, const ListedToken& each);

}  // namespace umbel
