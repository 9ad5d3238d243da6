// ByteStream's zstd side (RFC 8878). Private to byte_stream.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/byte_stream.h"
#include "io/raw_file.h"

namespace umbel {

inline bool is_zstd(std::string_view head) { return head.starts_with("\x28\xb5\x2f\xfd"); }

// head: what was read of the file already. Several frames in a row are one stream; windows of more than 128 MiB are refused.
Result<std::unique_ptr<ByteStream>> open_zstd(io_internal::RawFile file, std::string head, const StreamLimits& limits);

}  // namespace umbel
