#include "serve/token_texts.h"

#include "io/json.h"

namespace umbel::serve {
namespace {

std::string utf8_letter(int code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// GPT-2's byte alphabet: printable Latin-1 letters stand for themselves, the other bytes for U+0100, U+0101, ... in
// order.
std::unordered_map<std::string, char> byte_alphabet() {
  std::unordered_map<std::string, char> letters;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    letters.emplace(utf8_letter(itself ? byte : next++), static_cast<char>(byte));
  }
  return letters;
}

// "<0xE2>" as SentencePiece writes a byte.
std::optional<std::string> byte_fallback(const std::string& entry) {
  if (entry.size() != 6 || !entry.starts_with("<0x") || entry[5] != '>') return std::nullopt;
  int value = 0;
  for (char c : {entry[3], entry[4]}) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return std::string(1, static_cast<char>(value));
}

}  // namespace

TokenTexts::TokenTexts(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {
  byte_level_ = tokenizer_->id_of("\u0120").has_value();  // the letter that stands for a space
  if (byte_level_) letters_ = byte_alphabet();
  for (const char* word : {"a", "\u2581a", "e", "0", "."}) {
    anchor_ = tokenizer_->id_of(word);
    if (anchor_) break;
  }
  if (!anchor_) return;
  const TokenId id = *anchor_;
  auto text = tokenizer_->decode({&id, 1}, false);
  if (text.ok())
    anchor_text_ = *text;
  else
    anchor_.reset();
}

std::optional<std::string> TokenTexts::byte_level_bytes(const std::string& entry) const {
  std::string bytes;
  for (size_t i = 0; i < entry.size();) {
    const size_t length = (entry[i] & 0x80) == 0 ? 1 : 2;
    const auto letter = letters_.find(entry.substr(i, length));
    if (letter == letters_.end()) return std::nullopt;
    bytes += letter->second;
    i += length;
  }
  return bytes;
}

std::string TokenTexts::bytes(TokenId id) const {
  const std::optional<std::string> entry = tokenizer_->token(id);
  if (!entry) return {};
  if (tokenizer_->is_special(id)) return *entry;
  if (byte_level_) return byte_level_bytes(*entry).value_or(*entry);
  if (auto byte = byte_fallback(*entry)) return *byte;
  if (anchor_) {
    const TokenId pair[] = {*anchor_, id};
    const auto text = tokenizer_->decode(pair, false);
    if (text.ok() && text->starts_with(anchor_text_)) return text->substr(anchor_text_.size());
  }
  const auto text = tokenizer_->decode({&id, 1}, false);
  return text.ok() ? *text : *entry;
}

std::string TokenTexts::text(TokenId id) const {
  std::string raw = bytes(id);
  if (is_utf8(raw)) return raw;
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string shown = "bytes:";
  for (char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    shown += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return shown;
}

}  // namespace umbel::serve
