#include "data/row_template.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace umbel::data {
namespace {

std::string names_of(const OrderedJson& row) {
  constexpr size_t kShown = 12;
  std::string names;
  size_t count = 0;
  for (const auto& [name, value] : row.items()) {
    if (count++ == kShown) return names + ", ...";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

}  // namespace

std::vector<std::string> backslash_warnings(std::string_view text, const std::string& what) {
  bool line_break = false, tab = false, literal = false;
  for (size_t at = 0; at + 1 < text.size(); ++at) {
    if (text[at] != '\\') continue;
    const char next = text[++at];
    line_break |= next == 'n';
    tab |= next == 't';
    literal |= next == '\\' && at + 1 < text.size() && (text[at + 1] == 'n' || text[at + 1] == 't');
  }
  std::vector<std::string> warnings;
  if (line_break) warnings.push_back(what + R"(: \n is read as a line break (\\n would be a backslash and an n))");
  if (tab) warnings.push_back(what + R"(: \t is read as a tab (\\t would be a backslash and a t))");
  if (literal) warnings.push_back(what + R"(: \\n and \\t stand for a backslash and a letter, not for a line break or a tab)");
  return warnings;
}

const OrderedJson* find_field(const OrderedJson& row, std::string_view name) {
  if (!row.is_object()) return nullptr;
  if (const auto found = row.find(std::string(name)); found != row.end()) return &*found;
  const OrderedJson* at = &row;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string step(name.substr(begin, end - begin));
    begin = end + 1;
    if (at->is_object()) {
      const auto found = at->find(step);
      if (found == at->end()) return nullptr;
      at = &*found;
      continue;
    }
    size_t index = 0;
    const auto [stop, error] = std::from_chars(step.data(), step.data() + step.size(), index);
    if (!at->is_array() || step.empty() || error != std::errc() || stop != step.data() + step.size() || index >= at->size()) return nullptr;
    at = &(*at)[index];
  }
  return at;
}

Result<RowTemplate> RowTemplate::parse(std::string_view text, std::string_view what) {
  RowTemplate result;
  std::string literal;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\\' && at + 1 < text.size() && std::string_view("nt\\").find(text[at + 1]) != std::string_view::npos) {
      const char next = text[++at];
      literal += next == 'n' ? '\n' : next == 't' ? '\t' : '\\';
      continue;
    }
    if (c != '{' && c != '}') {
      literal += c;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      literal += c;
      ++at;
      continue;
    }
    const size_t end = text.find('}', at);
    if (c == '}' || end == std::string_view::npos || end == at + 1) {
      return invalid_argument(std::string(what) + ": a brace at character " + std::to_string(at + 1) +
                              " stands alone; write {field} for a field and {{ or }} for a brace");
    }
    if (!literal.empty()) result.pieces_.push_back({std::move(literal), false});
    literal.clear();
    result.pieces_.push_back({std::string(text.substr(at + 1, end - at - 1)), true});
    at = end;
  }
  if (!literal.empty()) result.pieces_.push_back({std::move(literal), false});
  return result;
}

Result<std::string> RowTemplate::fill(const OrderedJson& row) const {
  std::string text;
  for (const Piece& piece : pieces_) {
    if (!piece.is_field) {
      text += piece.text;
      continue;
    }
    const OrderedJson* found = find_field(row, piece.text);
    if (found != nullptr && found->is_null()) return invalid_argument("field \"" + piece.text + "\" is null");
    if (found == nullptr) {
      return invalid_argument("field \"" + piece.text + "\" is missing (the row has: " + names_of(row) + ")");
    }
    if (found->is_structured()) {
      const std::string inside = found->empty() ? "" : found->is_object() ? found->begin().key() : "0";
      return invalid_argument("field \"" + piece.text + "\" is a list or an object, not a text or a number" +
                              (inside.empty() ? "" : "; {" + piece.text + "." + inside + "} would be a part of it"));
    }
    text += found->is_string() ? found->get_ref<const std::string&>() : found->dump();
  }
  return text;
}

size_t RowTemplate::filled_bytes(const OrderedJson& row) const {
  constexpr size_t kNumberBytesMax = 32;
  size_t bytes = 0;
  for (const Piece& piece : pieces_) {
    const auto found = piece.is_field ? row.find(piece.text) : row.end();
    const bool text = piece.is_field && found != row.end() && found->is_string();
    const size_t more = text ? found->get_ref<const std::string&>().size() : piece.is_field ? kNumberBytesMax : piece.text.size();
    bytes = more > SIZE_MAX - bytes ? SIZE_MAX : bytes + more;
  }
  return bytes;
}

std::vector<std::string> RowTemplate::fields() const {
  std::vector<std::string> names;
  for (const Piece& piece : pieces_) {
    if (piece.is_field) names.push_back(piece.text);
  }
  return names;
}

}  // namespace umbel::data
