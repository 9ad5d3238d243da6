// OpenFile: a regular file that is open for reading, and what it was when we looked. Pipes, devices, sockets and folders are
// refused and never waited for. Move-only; any thread may read.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "base/status.h"

namespace umbel {

using Path = std::filesystem::path;

// What stat() says; two equal stamps mean that nothing was written in between (up to the file system's clock tick).
struct FileStamp {
  uint64_t size = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
  uint32_t mode = 0;  // type and permissions
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;  // set by the kernel on every change, also of a file that was moved into place
  bool operator==(const FileStamp&) const = default;
};

// "WHAT PATH: reason", with the code that belongs to errno.
Status file_failure(const char* what, const Path& path, int error);

class OpenFile {
 public:
  // Follows links: for paths that the operator gave. Strangers' folders: io/beneath.h.
  static Result<OpenFile> open(const Path& path);
  // Takes the descriptor over and looks at it. path is for messages. kInvalidArgument unless it is a regular file.
  static Result<OpenFile> adopt(int descriptor, const Path& path);
  OpenFile(OpenFile&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), stamp_(other.stamp_) {}
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  const Path& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  size_t size() const { return stamp_.size; }  // when it was opened
  const FileStamp& stamp() const { return stamp_; }

  // Up to size bytes from the offset on; fewer only at the end of the file.
  Result<size_t> read_at(uint64_t offset, char* target, size_t size) const;
  // Exactly so many; kDataLoss when the file became shorter.
  Status read_exactly(uint64_t offset, char* target, size_t size) const;
  // All of it; kTooLong with both numbers past the limit.
  Result<std::string> read(size_t limit_bytes) const;
  // kUnavailable when it is no longer what it was when it was opened.
  Status check_unchanged() const;

 private:
  OpenFile(Path path, int descriptor, const FileStamp& stamp) : path_(std::move(path)), descriptor_(descriptor), stamp_(stamp) {}

  Path path_;
  int descriptor_ = -1;
  FileStamp stamp_;
};

}  // namespace umbel
