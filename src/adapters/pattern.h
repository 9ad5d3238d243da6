// Pattern: the regular expressions of adapter_config.json (Python's syntax), matched without backtracking.
//
// A pattern comes from a stranger's file, so matching is a simulation of all paths at once with a step budget: no
// pattern can hang the loader or overflow the stack. Supported: literals, ., classes, \d \w \s \b and their opposites,
// groups (also named), alternation, greedy and lazy repetition, ^ $ \A \Z, lookahead (?=..) and (?!..). Back
// references, lookbehind, inline flags and possessive repetition are refused by name. Text is taken as bytes (module
// paths are ASCII).
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace umbel {

class Pattern {
 public:
  // kInvalidArgument for bad syntax, kUnsupported for a construct named above, kTooLong past the size limits.
  static Result<Pattern> compile(std::string_view pattern);

  // Python's re.fullmatch. kTooLong when the step budget runs out. Any thread.
  Result<bool> full_match(std::string_view text) const;

  const std::string& text() const { return text_; }

 private:
  friend class PatternCompiler;
  friend class PatternRun;
  enum class Op : uint8_t { kByteSet, kSplit, kJump, kBegin, kEnd, kWordEdge, kNotWordEdge, kAhead, kNotAhead, kMatch };
  struct Instruction {
    Op op = Op::kMatch;
    int32_t x = 0;  // kByteSet: index into sets_; kSplit, kJump: target; kAhead, kNotAhead: where to go on
    int32_t y = 0;  // kSplit: second target
  };

  std::string text_;
  std::vector<Instruction> program_;
  std::vector<std::bitset<256>> sets_;
};

}  // namespace umbel
