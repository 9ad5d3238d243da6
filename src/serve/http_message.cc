#include "serve/http_message.h"

#include <algorithm>
#include <boost/beast/http/status.hpp>
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

bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

std::optional<std::string> percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1, low = high < 0 ? -1 : digit(text[i + 2]);
    if (low < 0) return std::nullopt;
    result += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return result;
}

std::string_view reason_phrase(int status) {
  const auto phrase = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(static_cast<unsigned>(status)));
  return {phrase.data(), phrase.size()};
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
