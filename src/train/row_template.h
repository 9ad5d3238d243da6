// RowTemplate: a text with {field} places that are filled from a row.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/chat_template.h"

namespace umbel {

class RowTemplate {
 public:
  // {name} is a field, {{ and }} are braces. kInvalidArgument for a brace that stands alone or an empty name; what names
  // the template in errors.
  static Result<RowTemplate> parse(std::string_view text, std::string_view what);

  // kInvalidArgument when a field is absent, null, a list or an object. Numbers and booleans are written as in JSON.
  Result<std::string> fill(const OrderedJson& row) const;
  std::vector<std::string> fields() const;  // in the order of the text

 private:
  struct Piece {
    std::string text;
    bool is_field;
  };
  std::vector<Piece> pieces_;
};

}  // namespace umbel
