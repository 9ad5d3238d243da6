// Texts as Python's str sees them: the scorers of papers are written in Python, and their figures hang on its rules for case, white
// space, digits and numbers. Texts are UTF-8; a byte that is not counts as one character of its own (U+FFFD). Unicode's tables are ICU's.
// Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace umbel::eval {

// str.lower(): full mapping (a final sigma, dotted I), of the root locale.
std::string lower_case(std::string_view text);
// str.split() without an argument, str.strip(), str.rstrip().
std::vector<std::string_view> split_blanks(std::string_view text);
std::string_view strip_blanks(std::string_view text);
std::string_view strip_blanks_right(std::string_view text);
// str.strip(characters), of ASCII characters.
std::string_view strip_any(std::string_view text, std::string_view characters);

std::u32string code_points(std::string_view text);
// str.isspace() of one character; what "\d" and "\w" of a regular expression match.
bool is_blank(char32_t c);
bool is_digit(char32_t c);
bool is_word(char32_t c);

// float(text), int(text); nullopt where they raise. Underscores, blanks around and digits of all scripts are allowed, as there. An int
// beyond 64 bits is the nearest one.
std::optional<double> python_float(std::string_view text);
std::optional<int64_t> python_int(std::string_view text);
// repr() of a float: the shortest digits that read back the same, "1.0", "1e-05".
std::string python_repr(double value);
// str() of what a JSON value is in Python: None, True, 1.0, ['a', 2].
std::string python_str(const OrderedJson& value);

// Texts with places for their characters: what a pattern over characters needs.
struct Characters {
  explicit Characters(std::string_view text);
  std::string_view text;
  std::u32string points;
  std::vector<size_t> starts;  // byte of point i; one more for the end
  std::string_view slice(size_t begin, size_t end) const { return text.substr(starts[begin], starts[end] - starts[begin]); }
};

}  // namespace umbel::eval
