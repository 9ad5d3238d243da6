// Where the trained part of an example ends, and by which token.
#pragma once

#include <algorithm>
#include <cstddef>

#include "data/example.h"

namespace umbel::data {

// Tokens up to where the last trained text really ends: blanks behind a special token are the template's, and may merge with what
// comes next. 0 without a trained token.
inline size_t trained_end(const Example& example, const Tokenizer& tokenizer) {
  const auto last = std::find(example.trained.rbegin(), example.trained.rend(), 1);
  const auto end = static_cast<size_t>(example.trained.rend() - last);
  constexpr size_t kBlankTokens = 4;
  for (size_t i = end; i > 0 && end - i <= kBlankTokens; --i) {
    const TokenId id = example.tokens[i - 1];
    if (tokenizer.is_special(id)) return i;
    const auto text = tokenizer.decode({&id, 1}, /*skip_special=*/false);
    if (!text.ok() || text->find_first_not_of(" \t\r\n") != std::string::npos) break;
  }
  return end;
}

}  // namespace umbel::data
