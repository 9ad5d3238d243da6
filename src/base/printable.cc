#include "base/printable.h"

#include <algorithm>
#include <cstdio>

#include "base/utf8.h"

namespace umbel {
namespace {

// Nothing to see, and yet it changes what is seen around it.
bool is_hidden(char32_t code) {
  if (code < 0x20 || (code >= 0x7F && code <= 0x9F)) return true;             // C0, DEL, C1
  if (code == 0x61C || code == 0x200B || code == 0xFEFF) return true;         // Arabic letter mark, zero width
  if (code >= 0x200E && code <= 0x200F) return true;                          // left-to-right and right-to-left marks
  if (code >= 0x2028 && code <= 0x202E) return true;                          // separators, embeddings, overrides
  if (code >= 0x2060 && code <= 0x206F) return true;                          // word joiner, isolates
  if (code >= 0xFFF9 && code <= 0xFFFB) return true;                          // interlinear annotation
  return code >= 0xE0000 && code <= 0xE007F;                                  // tags
}

void append_escape(std::string& out, char32_t code) {
  if (code == '\n') {
    out += "\\n";
  } else if (code == '\r') {
    out += "\\r";
  } else if (code == '\t') {
    out += "\\t";
  } else {
    char text[16];
    std::snprintf(text, sizeof text, code < 0x80 ? "\\x%02x" : "\\u{%x}", static_cast<unsigned>(code));
    out += text;
  }
}

// Bytes of the character (1 for a byte that is none) that the text begins with, its printable form appended.
size_t append_one(std::string& out, std::string_view text, LineBreaks breaks) {
  const size_t length = utf8_length(text);
  if (length == 0) {
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(text[0])));
    out += escape;
    return 1;
  }
  const char32_t code = utf8_code_point(text, length);
  const bool kept = (code == '\n' && breaks != LineBreaks::kEscaped) || (code == '\t' && breaks == LineBreaks::kKept);
  if (kept || !is_hidden(code)) {
    out += text.substr(0, length);
  } else {
    append_escape(out, code);
  }
  if (code == '\n' && breaks == LineBreaks::kIndented && !text.substr(1).starts_with("  ")) out += "  ";
  return length;
}

// Whole characters from the front while they fit; how many bytes of the text they were.
size_t append_front(std::string& out, std::string_view text, size_t length_max, LineBreaks breaks) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t before = out.size();
    const size_t length = append_one(out, text.substr(at), breaks);
    if (out.size() > length_max) {
      out.resize(before);
      break;
    }
    at += length;
  }
  return at;
}

// The printable form of the text's end, at most length_max bytes of it.
std::string back(std::string_view text, size_t length_max, LineBreaks breaks) {
  size_t begin = text.size() - std::min(text.size(), length_max);
  for (int i = 0; i < 3 && begin < text.size() && utf8_continues(text[begin]); ++i) ++begin;
  std::string out;
  append_front(out, text.substr(begin), std::string::npos, breaks);
  if (out.size() <= length_max) return out;
  size_t cut = out.size() - length_max;
  while (cut < out.size() && utf8_continues(out[cut])) ++cut;
  return out.substr(cut);
}

}  // namespace

std::string printable(std::string_view text, size_t length_max, LineBreaks breaks) {
  std::string out;
  if (append_front(out, text, length_max, breaks) == text.size()) return out;
  const std::string note = " ... (" + std::to_string(text.size()) + " bytes) ... ";
  if (length_max <= note.size()) {
    out.clear();
    append_front(out, text, length_max, breaks);
    return out;
  }
  // Messages name the thing first and the remedy last.
  const size_t room = length_max - note.size();
  const size_t back_max = room / 3;
  out.clear();
  append_front(out, text, room - back_max, breaks);
  return out + note + back(text, back_max, breaks);
}

}  // namespace umbel
