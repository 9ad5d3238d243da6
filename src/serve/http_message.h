// HttpRequest and HttpReply: one request and one answer as plain values; no network type in them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"

namespace umbel::serve {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // as sent: "GET"
  // Without the query. As it was sent until the gate has passed the request; then the route's own path ("/v1/models/*"),
  // which no stranger chooses: fit for labels.
  std::string path;
  std::string path_parameter;  // what stood for the '*' of the route's path, percent-decoded
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

// A name as RFC 9110 5.6.2 has it: of a header, a method.
bool is_token(std::string_view text);
// %41 becomes A; nullopt where a % is not followed by two hexadecimal digits.
std::optional<std::string> percent_decoded(std::string_view text);

std::string_view reason_phrase(int status);

// Status line and headers, ending in the empty line. Bytes that may not stand in a header value become '?'.
std::string head_text(const HttpReply& reply, const HttpHeaders& more);

}  // namespace umbel::serve
