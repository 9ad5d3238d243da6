// Which known name a mistyped one was probably meant to be.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace umbel {

// Insertions, deletions, substitutions and swaps of neighbouring bytes that turn one into the other (optimal string
// alignment). O(|a| |b|) time, O(|b|) memory.
size_t edit_distance(std::string_view a, std::string_view b);

// The known name with the smallest distance (the first of equals), case and "-" against "_" not counted; "" when none is
// within a third of the longer name's length, rounded up.
std::string nearest_name(std::string_view name, std::span<const std::string> known);

}  // namespace umbel
