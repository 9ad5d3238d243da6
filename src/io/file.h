// Files: read whole, map, write atomically. Every failure is a Status that names the path.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace umbel {

using Path = std::filesystem::path;

// The whole file, at most limit_bytes (kTooLong past that).
Result<std::string> read_file(const Path& path, size_t limit_bytes = size_t{1} << 30);

// Writes to a temporary name beside path, fsyncs, renames over path. On failure nothing is left behind and an existing
// file is unchanged.
Status write_file_atomic(const Path& path, std::string_view bytes);

// A read-only private mapping. Move-only; the bytes live as long as the object. Any thread may read.
class MappedFile {
 public:
  static Result<MappedFile> open(const Path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace umbel
