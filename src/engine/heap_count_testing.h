// How often the test program of this room has taken memory from the heap, in all threads. Included by tests only.
#pragma once

#include <cstdint>

namespace umbel::testing {

int64_t heap_calls();

}  // namespace umbel::testing
