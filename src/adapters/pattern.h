// Pattern: the regular expressions of adapter_config.json and of training configurations, matched whole as Python's
// re.fullmatch does. The engine is PCRE2, whose syntax is Python's but for rarities (a bound without its lower end,
// "{,n}", is refused by name).
//
// A pattern comes from a stranger's file: its length, its nesting, and the steps and memory of a match are bounded. Text
// is taken as bytes (module paths are ASCII).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

struct pcre2_real_code_8;

namespace umbel {

class Pattern {
 public:
  // kInvalidArgument for bad syntax (with the place), kUnsupported for "{,n}", kTooLong past the size limits.
  static Result<Pattern> compile(std::string_view pattern);

  // kTooLong when the match needs more steps or memory than the limits allow. Any thread.
  Result<bool> full_match(std::string_view text) const;

  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::shared_ptr<const pcre2_real_code_8> code_;  // never changed once compiled, so copies share it
};

}  // namespace umbel
