// UTF-8 at the door: is it valid, how many code points.
#pragma once

#include <cstddef>
#include <string_view>

namespace umbel::serve {

// Strict (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF.
bool valid_utf8(std::string_view text);
// Bytes that start a code point; what Python calls len() of valid text.
size_t code_points(std::string_view text);

}  // namespace umbel::serve
