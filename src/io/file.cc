#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace umbel {
namespace {

Status system_error(const Path& path, const char* action) {
  const int error = errno;
  const std::string message = "cannot " + std::string(action) + " \"" + path.string() + "\": " + std::strerror(error);
  switch (error) {
    case ENOENT: return not_found(message);
    case EACCES:
    case EPERM:
    case EROFS: return Status(Code::kPermissionDenied, message);
    case ENOSPC:
    case EDQUOT: return Status(Code::kUnavailable, message);
    case ENOMEM: return Status(Code::kOutOfMemory, message);
    default: return failed_precondition(message);
  }
}

// Closes on scope exit.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Result<size_t> regular_size(int fd, const Path& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return system_error(path, "look at");
  if (!S_ISREG(info.st_mode)) return failed_precondition("\"" + path.string() + "\" is not a regular file");
  return static_cast<size_t>(info.st_size);
}

}  // namespace

Result<std::string> read_file(const Path& path, size_t limit_bytes) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return system_error(path, "open");
  ASSIGN_OR_RETURN(const size_t size, regular_size(file.get(), path));
  if (size > limit_bytes) {
    return Status(Code::kTooLong, "\"" + path.string() + "\" has " + std::to_string(size) + " bytes; the limit is " +
                                      std::to_string(limit_bytes));
  }
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path, "read");
    if (got == 0) break;  // shrank meanwhile
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Result<MappedFile> MappedFile::open(const Path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return system_error(path, "open");
  ASSIGN_OR_RETURN(const size_t size, regular_size(file.get(), path));
  if (size == 0) return MappedFile(nullptr, 0);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) return system_error(path, "map");
  return MappedFile(static_cast<const std::byte*>(memory), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Status write_file_atomic(const Path& path, std::string_view bytes) {
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  std::string name = (folder / ("." + path.filename().string() + ".XXXXXX")).string();
  Descriptor file(::mkstemp(name.data()));
  if (file.get() < 0) return system_error(folder, "create a file in");
  const auto fail = [&](const char* action) {
    Status status = system_error(path, action);
    ::unlink(name.c_str());
    return status;
  };
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail("write");
    done += static_cast<size_t>(put);
  }
  if (::fchmod(file.get(), 0644) != 0) return fail("set the mode of");
  if (::fsync(file.get()) != 0) return fail("write");
  if (::close(file.release()) != 0) return fail("write");
  if (::rename(name.c_str(), path.c_str()) != 0) return fail("replace");
  Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
  return ok_status();
}

}  // namespace umbel
