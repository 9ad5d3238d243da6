// Whether this is a sanitizer's build: it takes 5 to 20 times as long and counts memory of its own, so some tests do less there.
#pragma once

#include "base/sanitized.h"

namespace umbel::testing {

inline constexpr bool kSanitized = UMBEL_SANITIZED != 0;

}  // namespace umbel::testing
