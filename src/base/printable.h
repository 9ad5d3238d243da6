// Printable: the one place where text that may hold a stranger's words (names of tensors, fields, files, adapters) is made
// fit for a terminal or a log: it can't begin a line of its own, move the cursor, turn the reading direction, or go on for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace umbel {

inline constexpr size_t kPrintableNameMax = 200;      // bytes of one name in a message
inline constexpr size_t kPrintableLineMax = 4096;     // of one log record
inline constexpr size_t kPrintableReportMax = 32768;  // of a verb's last words, which may have many lines

// What becomes of '\n' and, with kKept, of '\t'.
enum class LineBreaks : uint8_t {
  kEscaped,   // written as \n: the result is one line
  kIndented,  // kept, and the next line begins with two blanks at least: it can't be taken for a line of its own
  kKept,      // the text is shown as a text
};

// At most length_max bytes of well-formed UTF-8. Control characters, line and paragraph separators, marks of reading direction, invisible
// characters (joiners apart) and bytes that are no UTF-8 are written as escapes (\n, \x1b, \u{202e}); all else stays, a
// backslash too, so this is for eyes and not for reading back. Of a longer text beginning and end are given, and its size between them.
// Costs no more than length_max, however long the text.
std::string printable(std::string_view text, size_t length_max = kPrintableLineMax, LineBreaks breaks = LineBreaks::kEscaped);

}  // namespace umbel
