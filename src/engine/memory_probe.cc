#include "engine/memory_probe.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace umbel {
namespace {

std::optional<size_t> read_number(const std::string& path) {
  std::ifstream file(path);
  size_t number = 0;
  if (file >> number) return number;
  return std::nullopt;  // absent, or "max"
}

// The value of "name value" lines, as in memory.stat; "MemAvailable: 123 kB" lines too.
std::optional<size_t> read_field(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  size_t value = 0;
  while (file >> word) {
    if (word == name && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

// limit - (used - what the kernel can drop at once).
std::optional<size_t> room_in_group(const std::optional<size_t>& limit, const std::optional<size_t>& used,
                                    const std::optional<size_t>& droppable) {
  if (!limit || !used || *limit > (size_t{1} << 60)) return std::nullopt;  // version 1 says "no limit" as a huge number
  const size_t busy = *used - std::min(*used, droppable.value_or(0));
  return *limit - std::min(*limit, busy);
}

// What ulimit -v leaves.
std::optional<size_t> address_room(const std::string& root) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const size_t used = read_number(root + "/proc/self/statm").value_or(0) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return limit.rlim_cur - std::min<size_t>(limit.rlim_cur, used);
}

}  // namespace

size_t available_memory_bytes(const std::string& root) {
  const size_t machine = read_field(root + "/proc/meminfo", "MemAvailable:").value_or(0) * 1024;
  size_t available = machine;
  const std::string v2 = root + "/sys/fs/cgroup/";
  const std::string v1 = root + "/sys/fs/cgroup/memory/";
  const auto rooms = {
      room_in_group(read_number(v2 + "memory.max"), read_number(v2 + "memory.current"),
                    read_field(v2 + "memory.stat", "inactive_file")),
      room_in_group(read_number(v1 + "memory.limit_in_bytes"), read_number(v1 + "memory.usage_in_bytes"),
                    read_field(v1 + "memory.stat", "total_inactive_file")),
      address_room(root),
  };
  for (const auto& room : rooms) {
    if (room) available = available == 0 ? *room : std::min(available, *room);
  }
  return available;
}

}  // namespace umbel
