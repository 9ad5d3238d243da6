#include "io/html.h"

#include "io/json.h"

namespace umbel {

std::string html_escaped(const std::string& text) {
  // A JSON round trip replaces what is no UTF-8.
  const std::string dumped = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto clean = parse_json(dumped, "text");
  std::string out;
  for (const char c : clean.ok() ? clean->get<std::string>() : std::string()) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      case '\n': out += c; break;
      default: out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? std::string("\xEF\xBF\xBD") : std::string(1, c);
    }
  }
  return out;
}

}  // namespace umbel
