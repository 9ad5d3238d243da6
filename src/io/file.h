// Files: read whole, map, write atomically. Every failure is a Status that names the path.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/file_calls.h"
#include "io/open_file.h"
#include "io/page_guard.h"

namespace umbel {

// The whole file, at most limit_bytes (kTooLong past that).
Result<std::string> read_file(const Path& path, size_t limit_bytes = size_t{1} << 30);

// Writes to a temporary name beside path, fsyncs, renames over path. On failure nothing is left behind and an existing
// file is unchanged. The folder is synced last; if only that fails, the new file is in place and the Status says so.
Status write_file_atomic(const Path& path, std::string_view bytes);
Status write_file_atomic(const Path& path, std::string_view bytes, FileCalls& calls);

// Takes away what a killed process left beside path while it wrote it. Not for files that another process may be writing.
void remove_unfinished(const Path& path);

// write_file_atomic in pieces, for files too large to hold twice: create, append..., commit. Dropped before commit() it leaves
// nothing behind. One thread.
class AtomicFile {
 public:
  // calls outlives the object.
  static Result<AtomicFile> create(const Path& path, FileCalls& calls = real_file_calls());
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // After a failure only destruction is allowed.
  Status append(std::string_view bytes);
  Status commit();

 private:
  AtomicFile(FileCalls& calls, Path path, Path temporary, int descriptor)
      : calls_(&calls), path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}
  Status failed(const char* what, int error) const;
  Status close_descriptor();

  FileCalls* calls_;
  Path path_;
  Path temporary_;       // empty once renamed or moved from
  int descriptor_ = -1;  // -1 once closed
};

// Read-only bytes of a file. Move-only; the bytes live as long as the object. Any thread may read.
class MappedFile {
 public:
  // A private mapping. Whoever shortens the file in place while it is mapped kills the reader (SIGBUS), so this is for
  // files that nobody rewrites under a running program (a base model).
  static Result<MappedFile> open(const Path& path);
  // A private mapping for files that may be rewritten or shortened while we read them: what is no longer there reads as
  // zeros, and intact() says so. Takes no memory but the page cache's. What changed is for the caller to find out
  // (OpenFile::check_unchanged).
  static Result<MappedFile> open_unsteady(const OpenFile& file);
  // A copy in memory of its own: safe against any later change of the file. A file that shrinks while it is read is
  // kDataLoss.
  static Result<MappedFile> open_copy(const OpenFile& file);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // False once bytes were read that the file no longer had (open_unsteady only).
  bool intact() const { return !guard_.touched(); }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  PageGuard guard_;
};

}  // namespace umbel
