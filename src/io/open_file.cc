#include "io/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/file_stamp.h"

namespace umbel {

Status file_failure(const char* what, const Path& path, int error) {
  Code code = Code::kUnavailable;
  if (error == ENOENT || error == ENOTDIR) code = Code::kNotFound;
  if (error == EACCES || error == EPERM) code = Code::kPermissionDenied;
  if (error == ENOMEM) code = Code::kOutOfMemory;
  if (error == ELOOP || error == ENAMETOOLONG) code = Code::kInvalidArgument;  // no other try would find a file there
  return {code, std::string(what) + " " + path.string() + ": " + std::strerror(error)};
}

Result<OpenFile> OpenFile::open(const Path& path) {
  // O_NONBLOCK: opening a named pipe must not hang; it has no effect on regular files.
  return adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), path);
}

Result<OpenFile> OpenFile::adopt(int descriptor, const Path& path) {
  if (descriptor < 0) return file_failure("cannot open", path, errno);
  OpenFile file(path, descriptor, {});
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return file_failure("cannot stat", path, errno);
  if (!S_ISREG(info.st_mode)) return invalid_argument(path.string() + " is not a regular file");
  file.stamp_ = stamp_of(info);
  return file;
}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<size_t> OpenFile::read_at(uint64_t offset, char* target, size_t size) const {
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(descriptor_, target + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_failure("cannot read", path_, errno);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

Status OpenFile::read_exactly(uint64_t offset, char* target, size_t size) const {
  ASSIGN_OR_RETURN(const size_t count, read_at(offset, target, size));
  return count == size ? ok_status() : data_loss(path_.string() + " became shorter while it was read");
}

Result<std::string> OpenFile::read(size_t limit_bytes) const {
  if (size() > limit_bytes) {
    return Status(Code::kTooLong, path_.string() + " has " + std::to_string(size()) + " bytes, the limit is " +
                                      std::to_string(limit_bytes));
  }
  std::string bytes(size(), '\0');
  RETURN_IF_ERROR(read_exactly(0, bytes.data(), bytes.size()));
  return bytes;
}

Status OpenFile::check_unchanged() const {
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0) return file_failure("cannot stat", path_, errno);
  if (stamp_of(info) == stamp_) return ok_status();
  return Status(Code::kUnavailable, path_.string() + " changed while it was read");
}

}  // namespace umbel
