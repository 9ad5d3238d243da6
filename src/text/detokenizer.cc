#include "text/detokenizer.h"

#include <algorithm>
#include <utility>

namespace umbel {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool looks_like_byte(std::string_view token) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); };
  return token.size() == 6 && token.substr(0, 3) == "<0x" && is_hex(token[3]) && is_hex(token[4]) && token[5] == '>';
}

}  // namespace

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special,
                         std::vector<TokenId> prompt_tail)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {
  for (const TokenId id : prompt_tail) push(id);
  flush();
}

bool Detokenizer::is_byte_token(TokenId id) const {
  const std::optional<std::string> token = tokenizer_->token(id);
  if (!token || !looks_like_byte(*token)) return false;
  const auto text = tokenizer_->decode({&id, 1}, false);
  return text.ok() && *text != *token;
}

std::string Detokenizer::decode(size_t begin, size_t end) const {
  auto text = tokenizer_->decode({ids_.data() + begin, end - begin}, skip_special_);
  return text.ok() ? std::move(*text) : std::string();
}

std::string Detokenizer::show(const std::string& text, size_t held) {
  const size_t ready = text.size() - held;
  if (ready <= shown_) return {};
  std::string out = text.substr(shown_, ready - shown_);
  shown_ = ready;
  return out;
}

std::string Detokenizer::push(TokenId id) {
  if (!tokenizer_->token(id) || (skip_special_ && tokenizer_->is_special(id))) return {};
  const bool is_byte = is_byte_token(id);
  ids_.push_back(id);
  byte_run_ = is_byte ? byte_run_ + 1 : 0;
  const std::string text = decode(0, ids_.size());
  const bool is_open = text.ends_with(kReplacement);
  if (is_byte) {
    const bool must_wait = is_open || byte_run_ < kByteRun || settled_ == 0;
    if (must_wait) return {};
    // A long run: show its characters and forget its ids, so that a later byte cannot change them any more.
    std::string out = show(text, 0);
    ids_.resize(ids_.size() - byte_run_);
    shown_ = decode(0, ids_.size()).size();
    byte_run_ = 0;
    return out;
  }
  const size_t held = is_open ? kReplacement.size() : 0;
  std::string out = show(text, held);
  shrink(!is_open, held);
  return out;
}

void Detokenizer::shrink(bool settled, size_t held) {
  size_t drop = 0;
  if (settled) {
    // Keep the ids since the point before this one: what comes next needs to know what it follows.
    drop = settled_;
  } else if (ids_.size() > 2 * kOpenIds) {
    // A code point has at most four bytes: the last ids decode the same wherever the window starts well before them.
    drop = ids_.size() - kOpenIds;
  }
  if (drop > 0) {
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(drop));
    shown_ = decode(0, ids_.size()).size() - held;
  }
  if (settled) settled_ = ids_.size();
  if (!settled && drop > 0) settled_ = settled_ > drop ? settled_ - drop : 0;
}

std::string Detokenizer::flush() {
  std::string out = show(decode(0, ids_.size()), 0);
  byte_run_ = 0;
  settled_ = ids_.size();
  return out;
}

}  // namespace umbel
