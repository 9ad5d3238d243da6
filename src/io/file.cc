#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace umbel {
namespace {

constexpr const char* kTemporaryMark = ".tmp-";

// A failure here is reported, not undone: the rename has happened.
Status sync_folder(FileCalls& calls, const Path& path) {
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  const int descriptor = calls.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  int error = descriptor < 0 ? errno : 0;
  if (descriptor >= 0) {
    if (calls.fsync(descriptor) != 0 && errno != EINVAL) error = errno;  // EINVAL: a file system without folder sync
    (void)calls.close(descriptor);
  }
  if (error == 0) return ok_status();
  return file_failure("written, but it may not survive a power cut: cannot sync the folder of", path, error);
}

}  // namespace

Result<std::string> read_file(const Path& path, size_t limit_bytes) {
  ASSIGN_OR_RETURN(const OpenFile file, OpenFile::open(path));
  return file.read(limit_bytes);
}

Status write_file_atomic(const Path& path, std::string_view bytes) {
  return write_file_atomic(path, bytes, real_file_calls());
}

Status write_file_atomic(const Path& path, std::string_view bytes, FileCalls& calls) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path, calls));
  RETURN_IF_ERROR(file.append(bytes));
  return file.commit();
}

void remove_unfinished(const Path& path) {
  std::error_code error;
  const std::string start = path.filename().string() + kTemporaryMark;
  std::vector<Path> found;
  for (std::filesystem::directory_iterator at(path.parent_path(), error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with(start)) found.push_back(at->path());
  }
  for (const Path& file : found) std::filesystem::remove(file, error);
}

Result<AtomicFile> AtomicFile::create(const Path& path, FileCalls& calls) {
  // O_EXCL decides who owns a name, so the number only has to differ between tries.
  constexpr int kTries = 100;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    Path temporary = path;
    temporary += kTemporaryMark + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    const int descriptor = calls.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return AtomicFile(calls, path, std::move(temporary), descriptor);
    if (errno != EEXIST) return file_failure("cannot create", temporary, errno);
  }
  return Status(Code::kUnavailable, "too many temporary files beside " + path.string());
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : calls_(other.calls_),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, Path())),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) (void)calls_->close(descriptor_);
  if (!temporary_.empty()) (void)calls_->unlink(temporary_);
}

Status AtomicFile::failed(const char* what, int error) const { return file_failure(what, path_, error); }

Status AtomicFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = calls_->write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("cannot write", errno);
    if (count == 0) return failed("cannot write", ENOSPC);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return ok_status();
}

Status AtomicFile::close_descriptor() {
  const int descriptor = std::exchange(descriptor_, -1);
  return calls_->close(descriptor) == 0 ? ok_status() : failed("cannot close", errno);
}

Status AtomicFile::commit() {
  if (calls_->fsync(descriptor_) != 0) return failed("cannot sync", errno);
  RETURN_IF_ERROR(close_descriptor());
  if (calls_->rename(temporary_, path_) != 0) return failed("cannot rename to", errno);
  temporary_.clear();
  return sync_folder(*calls_, path_);
}

namespace {

Result<void*> map(const OpenFile& file) {
  void* memory = ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (memory == MAP_FAILED) return file_failure("cannot map", file.path(), errno);
  return memory;
}

}  // namespace

Result<MappedFile> MappedFile::open(const Path& path) {
  ASSIGN_OR_RETURN(const OpenFile file, OpenFile::open(path));
  if (file.size() == 0) return MappedFile(nullptr, 0);
  ASSIGN_OR_RETURN(void* const memory, map(file));
  return MappedFile(static_cast<const std::byte*>(memory), file.size());
}

Result<MappedFile> MappedFile::open_unsteady(const OpenFile& file) {
  if (file.size() == 0) return MappedFile(nullptr, 0);
  ASSIGN_OR_RETURN(void* const memory, map(file));
  MappedFile mapped(static_cast<const std::byte*>(memory), file.size());
  ASSIGN_OR_RETURN(mapped.guard_, PageGuard::over(mapped.bytes()));
  return mapped;
}

Result<MappedFile> MappedFile::open_copy(const OpenFile& file) {
  const size_t size = file.size();
  if (size == 0) return MappedFile(nullptr, 0);
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return file_failure("no memory for a copy of", file.path(), errno);
  MappedFile copy(static_cast<const std::byte*>(memory), size);
  RETURN_IF_ERROR(file.read_exactly(0, static_cast<char*>(memory), size));
  return copy;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), guard_(std::move(other.guard_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(guard_, other.guard_);
  return *this;
}

MappedFile::~MappedFile() {
  guard_ = PageGuard();  // before the addresses can be somebody else's
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace umbel
