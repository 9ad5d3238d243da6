// ByteStream: a file read from front to back, unpacked on the way when it is gzip or zstd; LineReader: its lines. Memory does not
// grow with the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

// What ends a stream that would not end by itself. Text packs to a tenth or so; a thousandth, deflate's own limit, is a bomb.
struct StreamLimits {
  uint64_t bytes_max = uint64_t{1} << 40;         // unpacked
  uint64_t ratio_max = 200;                       // unpacked over packed bytes,
  uint64_t ratio_free_bytes = uint64_t{64} << 20;  // once so much was unpacked
};

// One thread. Regular files and pipes; folders and devices are refused.
class ByteStream {
 public:
  // Gzip (RFC 1952) and zstd (RFC 8878) are known by their first bytes, not by the name; several members or frames in a row are one stream.
  static Result<std::unique_ptr<ByteStream>> open(const Path& path, const StreamLimits& limits = {});
  virtual ~ByteStream() = default;
  // Up to size bytes into target; 0 = the end. kDataLoss for packed data that is cut off or damaged, kTooLong past a limit.
  virtual Result<size_t> read(char* target, size_t size) = 0;
};

// The longest line that is taken; a longer one is kTooLong.
inline constexpr size_t kLineBytesMax = size_t{64} << 20;

// Lines of a text that should be UTF-8. A byte-order mark of UTF-8 at the start is left out. A text in UTF-16 or UTF-32
// (its mark, or a zero byte in the first line) is kInvalidArgument with the remedy. Whether a line is UTF-8 is for its
// reader to check.
class LineReader {
 public:
  static Result<LineReader> open(const Path& path, const StreamLimits& limits = {});

  // A failure names file and line. The next line without its '\n' (a '\r' before it stays); false at the end. The last line may lack its '\n'.
  Result<bool> next(std::string& line);
  // The last line is given once more. REQUIRES: next() gave it, and it was not put back since.
  void put_back();
  int64_t line() const { return line_; }  // of the last one read, from 1
  const Path& path() const { return path_; }

 private:
  LineReader(Path path, std::unique_ptr<ByteStream> stream) : path_(std::move(path)), stream_(std::move(stream)) {}
  Status check_first(std::string& line) const;

  Path path_;
  std::unique_ptr<ByteStream> stream_;
  std::string buffer_;
  size_t begin_ = 0, last_begin_ = 0;
  bool end_ = false;  // of the stream; what is in the buffer is the rest
  int64_t line_ = 0;
};

}  // namespace umbel
