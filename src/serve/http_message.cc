#include "serve/http_message.h"

#include <algorithm>
#include <random>

namespace umbel::serve {

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::string json_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

HttpReply json_reply(int status, const Json& value) { return {.status = status, .body = json_text(value) + "\n"}; }

std::string random_hex(int digits) {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(static_cast<size_t>(digits), '0');
  for (char& digit : text) digit = kDigits[generator() >> 60];
  return text;
}

std::string request_id(std::string_view given) {
  const bool printable = std::all_of(given.begin(), given.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!given.empty() && given.size() <= 128 && printable) return std::string(given);
  return "req-" + random_hex(24);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 422:
      return "Unprocessable Content";
    case 424:
      return "Failed Dependency";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

std::string head_text(const HttpReply& reply, const HttpHeaders& more) {
  std::string text =
      "HTTP/1.1 " + std::to_string(reply.status) + " " + std::string(reason_phrase(reply.status)) + "\r\n";
  const auto add = [&text](std::string_view name, std::string_view value) {
    text.append(name).append(": ");
    for (char c : value) text += c >= ' ' && c < 0x7f ? c : '?';
    text += "\r\n";
  };
  if (reply.status != 204) add("content-type", reply.content_type);
  for (const auto& [name, value] : reply.headers) add(name, value);
  for (const auto& [name, value] : more) add(name, value);
  return text + "\r\n";
}

}  // namespace umbel::serve
