#include "train/row_template.h"

#include <algorithm>

namespace umbel {
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

Result<RowTemplate> RowTemplate::parse(std::string_view text, std::string_view what) {
  RowTemplate result;
  std::string literal;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
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
    const auto found = row.find(piece.text);
    if (found == row.end() || found->is_null()) {
      return invalid_argument("field \"" + piece.text + "\" is missing (the row has: " + names_of(row) + ")");
    }
    if (found->is_structured()) return invalid_argument("field \"" + piece.text + "\" is a list or an object, not a text or a number");
    text += found->is_string() ? found->get_ref<const std::string&>() : found->dump();
  }
  return text;
}

std::vector<std::string> RowTemplate::fields() const {
  std::vector<std::string> names;
  for (const Piece& piece : pieces_) {
    if (piece.is_field) names.push_back(piece.text);
  }
  return names;
}

}  // namespace umbel
