// Lane: which files a thread that reads adapters takes. One lane is for small files only, so that large ones never hold the
// others up.
#pragma once

#include <cstddef>
#include <cstdint>

namespace umbel {

inline constexpr size_t kLargeFileBytes = size_t{64} << 20;

enum class Lane : uint8_t { kAny, kSmall };

inline bool in_lane(Lane lane, size_t file_bytes) { return lane == Lane::kAny || file_bytes <= kLargeFileBytes; }
// Of several threads, all but the first leave large files alone. With one thread it takes everything.
inline Lane lane_of_thread(int index) { return index == 0 ? Lane::kAny : Lane::kSmall; }

}  // namespace umbel
