// Texts for HTML pages.
#pragma once

#include <string>
#include <string_view>

namespace umbel {

// Any thread. & < > " ' as entities; control characters and bytes that are no UTF-8 as U+FFFD.
std::string html_escaped(std::string_view text);

}  // namespace umbel
