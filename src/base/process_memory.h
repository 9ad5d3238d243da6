// What this process holds in memory, as the system counts it.
#pragma once

#include <cstddef>

namespace umbel {

// Bytes resident now, and the most that were resident since the program began. 0 where the system does not say.
size_t resident_bytes();
size_t peak_resident_bytes();

// Gives memory that was freed back to the system where the allocator would keep it: after large, passing work such as reading a
// model. Takes milliseconds. Any thread.
void return_freed_memory();

}  // namespace umbel
