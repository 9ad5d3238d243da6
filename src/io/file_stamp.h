// From stat() to a FileStamp. Included by .cc files of this room only.
#pragma once

#include <sys/stat.h>

#include "io/open_file.h"

namespace umbel {

inline FileStamp stamp_of(const struct stat& info) {
  const auto nanoseconds = [](const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; };
  return {static_cast<uint64_t>(info.st_size), static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino),
          static_cast<uint32_t>(info.st_mode), nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
}

}  // namespace umbel
