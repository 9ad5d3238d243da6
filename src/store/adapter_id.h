// AdapterId: what an adapter *is*: name, version and content digest. Two ids are the same adapter only if all agree.
#pragma once

#include <cstdint>
#include <string>

namespace umbel {

struct AdapterId {
  std::string name;      // folder name inside the adapters folder
  int64_t version = 0;   // 1, 2, ... counts changes of the folder seen by this process
  std::string digest;    // SHA-256 over the folder's adapter files, hex; the prefix cache's key
  bool operator==(const AdapterId&) const = default;
};

}  // namespace umbel
