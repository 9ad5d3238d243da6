#include "io/byte_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "io/raw_file.h"
#include "io/zstd_stream.h"

namespace umbel {
namespace {

using io_internal::check_ratio;
using io_internal::kPieceBytes;
using io_internal::RawFile;
using io_internal::system_failure;
using io_internal::too_much;

class PlainStream final : public ByteStream {
 public:
  PlainStream(RawFile file, std::string head, const StreamLimits& limits)
      : file_(std::move(file)), head_(std::move(head)), limits_(limits) {}

  Result<size_t> read(char* target, size_t size) override {
    const size_t first = std::min(size, head_.size());
    std::memcpy(target, head_.data(), first);
    head_.erase(0, first);
    size_t count = first;
    if (first < size) {
      ASSIGN_OR_RETURN(const size_t rest, file_.read(target + first, size - first));
      count += rest;
    }
    given_ += count;
    if (given_ > limits_.bytes_max) return too_much(file_.path(), limits_);
    return count;
  }

 private:
  RawFile file_;
  std::string head_;  // read already, not given yet
  const StreamLimits limits_;
  uint64_t given_ = 0;
};

class GzipStream final : public ByteStream {
 public:
  GzipStream(RawFile file, std::string head, const StreamLimits& limits)
      : file_(std::move(file)), input_(std::move(head)), limits_(limits) {
    CHECK(inflateInit2(&state_, 15 + 16) == Z_OK, "zlib starts with the memory that it needs");  // 16: gzip only
    feed(input_.size());
  }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;
  ~GzipStream() override { inflateEnd(&state_); }

  Result<size_t> read(char* target, size_t size) override {
    state_.next_out = reinterpret_cast<Bytef*>(target);
    state_.avail_out = static_cast<uInt>(std::min<size_t>(size, kPieceBytes * 16));
    const size_t wanted = state_.avail_out;
    while (state_.avail_out > 0 && !done_) {
      ASSIGN_OR_RETURN(const bool more, refill());
      if (!more && member_ended_) {
        done_ = true;
        break;
      }
      if (!more) return data_loss(file_.path().string() + ": the gzip data is cut off");
      if (member_ended_) RETURN_IF_ERROR(next_member());
      if (done_) break;
      const int code = inflate(&state_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        member_ended_ = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return data_loss(file_.path().string() + ": the gzip data is damaged (" + (state_.msg != nullptr ? state_.msg : "zlib") + ")");
      }
    }
    const size_t count = wanted - state_.avail_out;
    unpacked_ += count;
    RETURN_IF_ERROR(check_ratio(file_.path(), {.form = "gzip", .unpacked = unpacked_, .packed = packed_ - state_.avail_in}, limits_));
    return count;
  }

 private:
  void feed(size_t count) {
    packed_ += count;
    state_.next_in = reinterpret_cast<Bytef*>(input_.data());
    state_.avail_in = static_cast<uInt>(count);
  }
  // Input for inflate: false at the end of the file.
  Result<bool> refill() {
    if (state_.avail_in > 0) return true;
    input_.resize(kPieceBytes);
    ASSIGN_OR_RETURN(const size_t count, file_.read(input_.data(), input_.size()));
    feed(count);
    return count > 0;
  }
  // Another member, or the zero padding that some tools write.
  Status next_member() {
    if (*state_.next_in == 0) {
      done_ = true;
      return ok_status();
    }
    if (*state_.next_in != 0x1f) return data_loss(file_.path().string() + ": bytes that are not gzip follow the gzip data");
    CHECK(inflateReset(&state_) == Z_OK, "an initialised zlib state can be reset");
    member_ended_ = false;
    return ok_status();
  }

  RawFile file_;
  std::string input_;
  const StreamLimits limits_;
  uint64_t packed_ = 0, unpacked_ = 0;  // bytes so far
  z_stream state_{};
  bool member_ended_ = false;
  bool done_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteStream>> ByteStream::open(const Path& path, const StreamLimits& limits) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return system_failure("cannot open", path, errno);
  RawFile file(path, descriptor);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return system_failure("cannot stat", path, errno);
  if (S_ISDIR(info.st_mode)) return invalid_argument(path.string() + " is a folder, not a file");
  if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) return invalid_argument(path.string() + " is a device, not a file");
  std::string head(4, '\0');
  ASSIGN_OR_RETURN(const size_t count, file.read(head.data(), head.size()));
  head.resize(count);
  if (is_zstd(head)) return open_zstd(std::move(file), std::move(head), limits);
  if (head.starts_with("\x1f\x8b")) return std::unique_ptr<ByteStream>(std::make_unique<GzipStream>(std::move(file), std::move(head), limits));
  return std::unique_ptr<ByteStream>(std::make_unique<PlainStream>(std::move(file), std::move(head), limits));
}

Result<LineReader> LineReader::open(const Path& path, const StreamLimits& limits) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteStream> stream, ByteStream::open(path, limits));
  return LineReader(path, std::move(stream));
}

Status LineReader::check_first(std::string& line) const {
  const std::string_view text = line;
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") || text.find('\0') != std::string_view::npos) {
    return invalid_argument(path_.string() + ":1: the text is not UTF-8 (it looks like UTF-16 or UTF-32); convert it: iconv -f UTF-16 -t UTF-8 IN > OUT");
  }
  if (text.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
  return ok_status();
}

Result<bool> LineReader::next(std::string& line) {
  size_t searched = begin_;
  size_t found = std::string::npos;
  while ((found = buffer_.find('\n', searched)) == std::string::npos && !end_) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (searched > kLineBytesMax) {
      return Status(Code::kTooLong, path_.string() + ":" + std::to_string(line_ + 1) + ": a line of more than " +
                                        std::to_string(kLineBytesMax) + " bytes");
    }
    buffer_.resize(searched + kPieceBytes);
    const Result<size_t> count = stream_->read(buffer_.data() + searched, kPieceBytes);
    if (!count.ok()) return Status(count.status().code(), count.status().message() + " (in line " + std::to_string(line_ + 1) + ")");
    buffer_.resize(searched + *count);
    end_ = *count == 0;
  }
  if (found == std::string::npos) {
    if (begin_ == buffer_.size()) return false;
    found = buffer_.size();
  }
  line.assign(buffer_, begin_, found - begin_);
  last_begin_ = begin_;
  begin_ = std::min(found + 1, buffer_.size());
  if (++line_ == 1) RETURN_IF_ERROR(check_first(line));
  return true;
}

void LineReader::put_back() {
  begin_ = last_begin_;
  --line_;
}

}  // namespace umbel
