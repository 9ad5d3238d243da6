// A file's own bytes, and the limits of what unpacks them. Private to byte_stream.cc and zstd_stream.cc.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/status.h"
#include "io/byte_stream.h"

namespace umbel::io_internal {

inline constexpr size_t kPieceBytes = size_t{1} << 18;

inline Status system_failure(const char* what, const Path& path, int error) {
  const Code code = error == ENOENT || error == ENOTDIR ? Code::kNotFound
                    : error == EACCES || error == EPERM ? Code::kPermissionDenied
                                                        : Code::kUnavailable;
  return {code, std::string(what) + " " + path.string() + ": " + std::strerror(error)};
}

// The file's own bytes. Move-only owner of a descriptor.
class RawFile {
 public:
  RawFile(Path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  RawFile(RawFile&& other) noexcept : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  RawFile& operator=(RawFile&&) = delete;
  ~RawFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  Result<size_t> read(char* target, size_t size) {
    size_t done = 0;
    while (done < size) {
      const ssize_t count = ::read(descriptor_, target + done, size - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return system_failure("cannot read", path_, errno);
      if (count == 0) break;
      done += static_cast<size_t>(count);
    }
    return done;
  }
  const Path& path() const { return path_; }

 private:
  Path path_;
  int descriptor_;
};

inline Status too_much(const Path& path, const StreamLimits& limits) {
  return {Code::kTooLong, path.string() + ": more than " + std::to_string(limits.bytes_max) + " bytes"};
}

// Bytes so far.
struct Unpacking {
  const char* form;
  uint64_t unpacked, packed;
};

inline Status check_ratio(const Path& path, const Unpacking& so_far, const StreamLimits& limits) {
  if (so_far.unpacked > limits.bytes_max) return too_much(path, limits);
  if (so_far.unpacked <= limits.ratio_free_bytes || so_far.unpacked / limits.ratio_max <= so_far.packed) return ok_status();
  return {Code::kTooLong, path.string() + ": the " + so_far.form + " data unpacks to more than " + std::to_string(limits.ratio_max) + " times its size (" +
                              std::to_string(so_far.unpacked) + " bytes of " + std::to_string(so_far.packed) + " so far); unpack it yourself if that is meant"};
}

}  // namespace umbel::io_internal
