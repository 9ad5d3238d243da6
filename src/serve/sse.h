// Server-sent events (WHATWG HTML, section "Server-sent events"): the bytes of one event, and the head of their stream.
#pragma once

#include <string>

#include "serve/http_message.h"

namespace umbel::serve {

inline HttpReply sse_head() { return {.content_type = "text/event-stream; charset=utf-8"}; }
inline std::string sse_event(const Json& value) { return "data: " + json_text(value) + "\n\n"; }
inline std::string sse_done() { return "data: [DONE]\n\n"; }
// Keeps proxies and clients from taking a silence for a dead connection.
inline std::string sse_comment() { return ": still working\n\n"; }

}  // namespace umbel::serve
