#include "adapters/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace umbel {
namespace {

constexpr size_t kPatternBytesMax = 4096;
constexpr uint32_t kNestingMax = 40;
constexpr uint32_t kStepsMax = 1'000'000;     // of one match
constexpr uint32_t kHeapKibMax = 16 * 1024;   // likewise

struct CompileContext {
  pcre2_compile_context* const at = pcre2_compile_context_create(nullptr);
  CompileContext() { pcre2_set_parens_nest_limit(at, kNestingMax); }
  ~CompileContext() { pcre2_compile_context_free(at); }
};

struct MatchContext {
  pcre2_match_context* const at = pcre2_match_context_create(nullptr);
  MatchContext() {
    pcre2_set_match_limit(at, kStepsMax);
    pcre2_set_heap_limit(at, kHeapKibMax);
  }
  ~MatchContext() { pcre2_match_context_free(at); }
};

std::string message_of(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

bool is_size_error(int error) {
  return error == PCRE2_ERROR_PATTERN_TOO_LARGE || error == PCRE2_ERROR_PARENTHESES_NEST_TOO_DEEP ||
         error == PCRE2_ERROR_QUANTIFIER_TOO_BIG;
}

}  // namespace

Result<Pattern> Pattern::compile(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return Status(Code::kTooLong, "the pattern has " + std::to_string(pattern.size()) + " bytes, at most " +
                                      std::to_string(kPatternBytesMax) + " are allowed");
  }
  const std::string quoted = "the pattern '" + std::string(pattern) + "' ";
  // Python reads {0,n}; PCRE2 would take the braces literally.
  if (pattern.find("{,") != std::string_view::npos) return unsupported(quoted + "has a bound '{,n}'; write '{0,n}'");
  const CompileContext context;
  const uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE place = 0;
  pcre2_code* const code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &place, context.at);
  if (code == nullptr) {
    const std::string why = message_of(error) + " at character " + std::to_string(place);
    if (is_size_error(error)) return Status(Code::kTooLong, quoted + "is too large: " + why);
    return invalid_argument(quoted + "is not a regular expression: " + why);
  }
  Pattern made;
  made.text_ = pattern;
  made.code_ = {code, pcre2_code_free};
  return made;
}

Result<bool> Pattern::full_match(std::string_view text) const {
  const MatchContext context;
  pcre2_match_data* const data = pcre2_match_data_create(1, nullptr);
  const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data, context.at);
  pcre2_match_data_free(data);
  if (found >= 0) return true;  // 0: more groups than the one that is kept
  if (found == PCRE2_ERROR_NOMATCH) return false;
  return Status(Code::kTooLong, "the pattern '" + text_ + "' needs too much to match: " + message_of(found));
}

}  // namespace umbel
