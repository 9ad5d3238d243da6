#include "serve/prompt_length.h"

#include "base/utf8.h"

namespace umbel::serve {
namespace {

// Texts of so few bytes a token are common, and are tokenized at once.
constexpr size_t kCommonBytes = 8;
// What is cut at some byte has tokens at its end that the whole has not: those of one word or name, and no token of a vocabulary
// is longer than that.
constexpr size_t kCutTokensMax = 2 * kTokenBytesMax;

std::string_view head_of(std::string_view text, size_t bytes) {
  while (bytes < text.size() && utf8_continues(text[bytes])) ++bytes;  // whole characters
  return text.substr(0, bytes);
}

}  // namespace

Result<bool> is_surely_longer(const Tokenizer& tokenizer, std::string_view text, size_t tokens_max) {
  // Each time twice as much: all of it together is twice the last, and what the last has more than the one before is what fits.
  for (size_t bytes = kCommonBytes * (tokens_max + kCutTokensMax); bytes < text.size(); bytes *= 2) {
    ASSIGN_OR_RETURN(const auto ids, tokenizer.encode(head_of(text, bytes), /*add_special=*/false));
    if (ids.size() > tokens_max + kCutTokensMax) return true;
  }
  return false;
}

}  // namespace umbel::serve
