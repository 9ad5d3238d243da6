#include "serve/keys/glob.h"

#include <algorithm>

#include "io/json.h"

namespace umbel::serve {

Status check_glob(std::string_view pattern) {
  if (pattern.empty()) return invalid_argument("a pattern is empty");
  if (pattern.size() > kGlobBytesMax)
    return invalid_argument("a pattern has " + std::to_string(pattern.size()) + " bytes; at most " +
                            std::to_string(kGlobBytesMax) + " are allowed");
  if (pattern.find_first_of("[]{}\\") != std::string_view::npos)
    return invalid_argument("a pattern knows `*` and `?` only, no brackets and no backslash");
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; };
  if (std::any_of(pattern.begin(), pattern.end(), is_control))
    return invalid_argument("a pattern has a control character");
  if (!is_utf8(pattern)) return invalid_argument("a pattern is not UTF-8");
  return ok_status();
}

// The last star takes one byte more whenever what follows it does not fit; earlier stars never need to.
bool glob_match(std::string_view pattern, std::string_view name) {
  size_t at_pattern = 0, at_name = 0;
  size_t after_star = std::string_view::npos, star_name = 0;
  while (at_name < name.size()) {
    if (at_pattern < pattern.size() && pattern[at_pattern] == '*') {
      after_star = ++at_pattern;
      star_name = at_name;
    } else if (at_pattern < pattern.size() && (pattern[at_pattern] == '?' || pattern[at_pattern] == name[at_name])) {
      ++at_pattern;
      ++at_name;
    } else if (after_star != std::string_view::npos) {
      at_pattern = after_star;
      at_name = ++star_name;
    } else {
      return false;
    }
  }
  while (at_pattern < pattern.size() && pattern[at_pattern] == '*') ++at_pattern;
  return at_pattern == pattern.size();
}

}  // namespace umbel::serve
