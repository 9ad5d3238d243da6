// The rank that a kind computes with: what --max-rank, step memory and time count.
#pragma once

#include <cstdint>
#include <string_view>

namespace umbel {

// Of a module of rank r in an adapter of this peft_type: r; for LoHa r * r, its two products multiplied out. INT64_MAX where
// that is more than 64 bits hold.
int64_t served_rank(std::string_view peft_type, int64_t rank);

}  // namespace umbel
