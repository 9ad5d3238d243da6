#include "io/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace umbel {
namespace {

Status failed(const char* what, const Path& path, int error) {
  const Code code = error == EACCES || error == EPERM ? Code::kPermissionDenied : Code::kUnavailable;
  return {code, std::string(what) + " " + path.string() + ": " + std::strerror(error)};
}

}  // namespace

Result<AppendFile> AppendFile::open(const Path& path, uint64_t keep_bytes, FileCalls& calls, mode_t mode) {
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) return failed("cannot make the folder of", path, error.value());
  const int descriptor = calls.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | O_NONBLOCK, mode);
  if (descriptor < 0) return failed("cannot open", path, errno);
  AppendFile file(calls, path, descriptor, 0);
  const off_t end = ::lseek(descriptor, 0, SEEK_END);
  if (end < 0) return failed("cannot append to", path, errno);
  file.size_ = static_cast<uint64_t>(end);
  if (file.size_ > keep_bytes) {
    if (::ftruncate(descriptor, static_cast<off_t>(keep_bytes)) != 0) return failed("cannot shorten", path, errno);
    file.size_ = keep_bytes;
  }
  return file;
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : calls_(other.calls_),
      path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      pending_(std::move(other.pending_)) {}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) (void)calls_->close(descriptor_);
}

bool AppendFile::moved() const {
  struct stat at_path {};
  struct stat open_file {};
  if (::fstat(descriptor_, &open_file) != 0) return true;
  if (::stat(path_.c_str(), &at_path) != 0) return true;
  return at_path.st_ino != open_file.st_ino || at_path.st_dev != open_file.st_dev;
}

Status AppendFile::flush() {
  std::string_view left = pending_;
  while (!left.empty()) {
    const ssize_t count = calls_->write(descriptor_, left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int error = count < 0 ? errno : ENOSPC;
      (void)!::ftruncate(descriptor_, static_cast<off_t>(size_));  // no half record; if even this fails, resume cuts it
      return failed("cannot write", path_, error);
    }
    left.remove_prefix(static_cast<size_t>(count));
  }
  size_ += pending_.size();
  pending_.clear();
  return ok_status();
}

Status AppendFile::sync() {
  RETURN_IF_ERROR(flush());
  if (calls_->fsync(descriptor_) != 0 && errno != EINVAL) return failed("cannot sync", path_, errno);
  return ok_status();
}

}  // namespace umbel
