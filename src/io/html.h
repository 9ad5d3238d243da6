// Texts for HTML pages.
#pragma once

#include <string>

namespace umbel {

// & < > " ' as entities; control characters and bytes that are no UTF-8 as U+FFFD.
std::string html_escaped(const std::string& text);

}  // namespace umbel
