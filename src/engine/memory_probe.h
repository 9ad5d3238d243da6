// What memory this process may still take: the machine's, or less where a cgroup or a limit of its addresses (ulimit -v) says so.
#pragma once

#include <cstddef>
#include <string>

namespace umbel {

// root: "" on a real machine; a test gives a folder with proc/ and sys/ inside. 0 when nothing can be read.
size_t available_memory_bytes(const std::string& root = "");

}  // namespace umbel
