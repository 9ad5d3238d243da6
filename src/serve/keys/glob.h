// Glob: adapter names by pattern: `*` is any bytes, also none; `?` is one byte; everything else is itself, case counts.
// Time is at most pattern times name: no pattern explodes.
#pragma once

#include <string_view>

#include "base/status.h"

namespace umbel::serve {

inline constexpr size_t kGlobBytesMax = 200;

// kInvalidArgument: empty, longer than kGlobBytesMax, no UTF-8, with a control character, or with `[`, `{` or `\`, which have a
// meaning in other globs and none here.
Status check_glob(std::string_view pattern);
bool glob_match(std::string_view pattern, std::string_view name);

}  // namespace umbel::serve
