// AppendFile: a log that only grows, of whole records: a write that the disk refuses leaves none of its records behind.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

// Move-only; one thread.
class AppendFile {
 public:
  // Makes the file and its folders, or keeps the first keep_bytes of the one that is there (all of it when it is shorter). calls
  // outlives the object. A pipe or a device without a reader is refused, not waited for. mode: of a file that is made.
  static Result<AppendFile> open(const Path& path, uint64_t keep_bytes, FileCalls& calls = real_file_calls(),
                                 mode_t mode = 0666);
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;
  ~AppendFile();  // what was not flushed is lost

  // Whole records; kept in memory until flush().
  void append(std::string_view records) { pending_ += records; }
  // Hands what is pending to the system: it survives the death of the process. On failure the file is cut back to what it was,
  // the records stay pending.
  Status flush();
  // flush(), and to the disk: it survives a power cut.
  Status sync();
  // Forgets what is pending: after a flush() that failed, when the records may be lost.
  void discard() { pending_.clear(); }
  // The path no longer leads to the open file: it was renamed (rotated), removed or replaced.
  bool moved() const;
  // Bytes of the file after the last flush().
  uint64_t size() const { return size_; }

 private:
  AppendFile(FileCalls& calls, Path path, int descriptor, uint64_t size)
      : calls_(&calls), path_(std::move(path)), descriptor_(descriptor), size_(size) {}

  FileCalls* calls_;
  Path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::string pending_;
};

}  // namespace umbel
