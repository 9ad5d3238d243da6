#include "data/continuation.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

namespace umbel::data {
namespace {

bool same_id(const TokenSpan& a, const TokenSpan& b) { return a.id == b.id; }

size_t common_prefix(const std::vector<TokenSpan>& a, const std::vector<TokenSpan>& b) {
  const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end(), same_id);
  return static_cast<size_t>(end - a.begin());
}

// Ids of answer as they stand behind an anchor that no token reaches over; nullopt where this anchor is not one.
Result<std::optional<std::vector<TokenSpan>>> behind_anchor(const Tokenizer& tokenizer, std::string_view anchor, std::string_view answer) {
  ASSIGN_OR_RETURN(const std::vector<TokenSpan> alone, tokenizer.encode_spans(anchor, /*add_special=*/false));
  ASSIGN_OR_RETURN(std::vector<TokenSpan> whole, tokenizer.encode_spans(std::string(anchor).append(answer), /*add_special=*/false));
  if (alone.empty() || common_prefix(alone, whole) < alone.size()) return std::optional<std::vector<TokenSpan>>();
  whole.erase(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(alone.size()));
  for (TokenSpan& token : whole) {
    token.begin = std::max(token.begin, anchor.size()) - anchor.size();
    token.end = std::max(token.end, anchor.size()) - anchor.size();
  }
  return std::optional(std::move(whole));
}

}  // namespace

Result<std::vector<TokenSpan>> encode_beginning(const Tokenizer& tokenizer, std::string_view text, Specials specials) {
  ASSIGN_OR_RETURN(std::vector<TokenSpan> tokens, tokenizer.encode_spans(text, specials == Specials::kAdd));
  if (specials == Specials::kWritten) return tokens;
  const auto written_behind = [&] {
    const TokenSpan& last = tokens.back();
    return last.begin == last.end && tokenizer.is_special(last.id) && (tokens.size() > 1 || last.id != tokenizer.bos());
  };
  while (!tokens.empty() && written_behind()) tokens.pop_back();
  return tokens;
}

Result<Continuation> encode_continuation(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer, Specials specials) {
  ASSIGN_OR_RETURN(std::vector<TokenSpan> before, encode_beginning(tokenizer, prompt, specials));
  ASSIGN_OR_RETURN(std::vector<TokenSpan> whole, encode_beginning(tokenizer, std::string(prompt).append(answer), specials));
  const size_t common = common_prefix(before, whole);
  if (common == before.size()) return Continuation{std::move(whole), common};
  // A line break stands apart from most that follows; a letter or a stop from the blanks that do not.
  constexpr std::array<std::string_view, 4> kAnchors = {"\n", "a", ".", "1"};
  for (const std::string_view anchor : kAnchors) {
    ASSIGN_OR_RETURN(const auto behind, behind_anchor(tokenizer, anchor, answer));
    if (!behind) continue;
    Continuation row{std::move(before)};
    row.prompt_tokens = row.tokens.size();
    for (const TokenSpan& token : *behind) row.tokens.push_back({token.id, token.begin + prompt.size(), token.end + prompt.size()});
    return row;
  }
  return Continuation{std::move(whole), common};
}

Result<Continuation> encode_together(const Tokenizer& tokenizer, std::string_view prompt, std::string_view answer) {
  ASSIGN_OR_RETURN(std::vector<TokenSpan> whole, encode_beginning(tokenizer, std::string(prompt).append(answer), Specials::kAdd));
  size_t common = 0;
  for (const std::string_view context : {prompt, prompt.substr(0, prompt.find_last_not_of(" \t\r\n") + 1)}) {
    ASSIGN_OR_RETURN(const std::vector<TokenSpan> before, encode_beginning(tokenizer, context, Specials::kAdd));
    common = common_prefix(before, whole);
    if (common == before.size()) break;
  }
  return Continuation{std::move(whole), common};
}

}  // namespace umbel::data
