// UTF-8 (RFC 3629), one character at a time: no overlong forms, no surrogates, nothing past U+10FFFF. Any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace umbel {

// Bytes of the character that the text begins with; 0 when it is not UTF-8. REQUIRES a text that is not empty.
size_t utf8_length(std::string_view text);
// The code point of a character of that many bytes. REQUIRES length == utf8_length(text), not 0.
char32_t utf8_code_point(std::string_view text, size_t length);

// A byte inside a character, not its first.
inline bool utf8_continues(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }
// Bytes that begin a character: what Python calls len() of valid text.
size_t utf8_count(std::string_view text);
// The longest beginning of at most so many bytes that cuts no character.
std::string_view utf8_head(std::string_view text, size_t bytes_max);

}  // namespace umbel
