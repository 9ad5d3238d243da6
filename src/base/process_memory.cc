#include "base/process_memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

namespace umbel {
namespace {

// A field of /proc/self/status, which is in kilobytes.
size_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(field)) continue;
    size_t kilobytes = 0;
    for (const char c : line.substr(field.size())) {
      if (c >= '0' && c <= '9') kilobytes = kilobytes * 10 + static_cast<size_t>(c - '0');
    }
    return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

size_t resident_bytes() { return status_bytes("VmRSS:"); }
size_t peak_resident_bytes() { return status_bytes("VmHWM:"); }

void return_freed_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void separate_large_allocations() {
#ifdef __GLIBC__
  constexpr int kApartBytes = 1 << 20;
  constexpr int kApartMost = 16384;  // of them at once, well below the kernel's limit of mappings
  mallopt(M_MMAP_THRESHOLD, kApartBytes);
  mallopt(M_MMAP_MAX, kApartMost);
#endif
}

}  // namespace umbel
