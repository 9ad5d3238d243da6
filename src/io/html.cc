#include "io/html.h"

#include <algorithm>

#include "base/utf8.h"

namespace umbel {

std::string html_escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text.front();
    if (length > 1) {
      out += text.substr(0, length);
    } else if (length == 0 || (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F) {
      out += "\xEF\xBF\xBD";
    } else {
      switch (c) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        case '\'': out += "&#39;"; break;
        default: out += c;
      }
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

}  // namespace umbel
