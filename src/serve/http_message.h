// HttpRequest and HttpReply: one request and one answer as plain values; no network type in them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"

namespace umbel::serve {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // as sent: "GET"
  std::string path;    // without the query, not percent-decoded
  std::string query;
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string id;  // x-request-id when usable (see request_id), else made here

  // The first header of this (lower-case) name, or "".
  std::string_view header(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  HttpHeaders headers;
  std::string content_type = "application/json";
  std::string body;
};

// Bytes that are no UTF-8 become U+FFFD; NaN and infinities become null. Never throws.
std::string json_text(const Json& value);
HttpReply json_reply(int status, const Json& value);

// given when it is 1 to 128 printable ASCII characters, else a fresh random one.
std::string request_id(std::string_view given);
// n hexadecimal digits of randomness, for ids of answers.
std::string random_hex(int digits);

std::string_view reason_phrase(int status);

// Status line and headers, ending in the empty line. Bytes that may not stand in a header value become '?'.
std::string head_text(const HttpReply& reply, const HttpHeaders& more);

}  // namespace umbel::serve
