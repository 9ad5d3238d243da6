// What umbel --version says.
#pragma once

#include <string>

namespace umbel::apps {

// "umbel 0.1.0", then lines: the commit that it was built from, the instruction set and the arithmetic that it chooses on this machine (measured
// and stored, where that was not done before). No line break at the end.
std::string version_text();

}  // namespace umbel::apps
