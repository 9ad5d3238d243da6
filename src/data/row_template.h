// RowTemplate: a text with {field} places that are filled from a row.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/chat_template.h"

namespace umbel::data {

// What a person who wrote the template should hear: backslashes that are read as line breaks or tabs, and those that are not. `what` names
// the template.
std::vector<std::string> backslash_warnings(std::string_view text, const std::string& what);

// The row's field of that name, or what a path of names and places (from 0) between dots leads to; null when there is none.
const OrderedJson* find_field(const OrderedJson& row, std::string_view name);

class RowTemplate {
 public:
  // {name} is a field, {{ and }} are braces, \n is a line break, \t a tab, \\ a backslash; any other backslash is itself. The same
  // text means the same in a file and behind a flag. kInvalidArgument for a brace that stands alone or an empty name; what names
  // the template in errors.
  static Result<RowTemplate> parse(std::string_view text, std::string_view what);

  // A name that is no field of the row may lead into its objects and lists: {translation.en}, {answers.text.0}.
  // kInvalidArgument when a field is absent, null, a list or an object. Numbers and booleans are written as in JSON.
  Result<std::string> fill(const OrderedJson& row) const;
  // No less than the bytes of fill(row), and no work that grows with them: a stranger's template may name a large field often.
  size_t filled_bytes(const OrderedJson& row) const;
  std::vector<std::string> fields() const;  // in the order of the text

 private:
  struct Piece {
    std::string text;
    bool is_field;
  };
  std::vector<Piece> pieces_;
};

}  // namespace umbel::data
