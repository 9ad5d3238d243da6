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

// From now on allocations of a megabyte and more have pages of their own, which go back to the system when they are freed: the
// allocator would keep them, and often can't use the holes again. For a process that loads and drops large things as it runs.
// Any thread, any number of times.
void separate_large_allocations();

}  // namespace umbel
