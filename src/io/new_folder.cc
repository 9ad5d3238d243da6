#include "io/new_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

namespace umbel {
namespace {

bool is_empty_folder(const Path& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error) && std::filesystem::is_empty(path, error) && !error;
}

Status failed(const Path& path, const std::string& why) {
  return Status(Code::kPermissionDenied, "can't write the folder " + path.string() + ": " + why);
}

// The path without a slash at its end, absolute.
Result<Path> normal(const Path& path) {
  std::error_code error;
  Path full = std::filesystem::absolute(path, error).lexically_normal();
  if (error) return failed(path, error.message());
  if (full.filename().empty()) full = full.parent_path();
  if (full.filename().empty()) return invalid_argument("\"" + path.string() + "\" can't be the name of a new folder");
  return full;
}

// A descriptor that locks the folder until it is closed; -1 when somebody else holds it, or it can't be locked.
int lock_folder(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor >= 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  if (descriptor >= 0) ::close(descriptor);
  return -1;
}

// What the hidden names of unfinished folders for this place begin with; six letters or digits follow.
std::string temporary_start(const Path& full) {
  return (full.parent_path() / ("." + full.filename().string() + ".umbel-")).string();
}

// Removes what killed processes left of folders for this place.
void sweep(const Path& full) {
  constexpr size_t kRandomLetters = 6;
  const std::string start = temporary_start(full);
  std::error_code error;
  std::vector<Path> found;
  for (std::filesystem::directory_iterator at(full.parent_path(), error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().string();
    if (name.starts_with(start) && name.size() == start.size() + kRandomLetters) found.push_back(at->path());
  }
  for (const Path& path : found) {
    const int lock = lock_folder(path);
    if (lock < 0) continue;
    std::filesystem::remove_all(path, error);
    ::close(lock);
  }
}

}  // namespace

Status check_free(const Path& path, Existing existing) {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, error)) || is_empty_folder(path)) return ok_status();
  if (existing == Existing::kRefuse) {
    return Status(Code::kAlreadyExists, path.string() + " exists already; give another name, or --force to replace it");
  }
  return ok_status();
}

Result<NewFolder> NewFolder::create(const Path& path, Existing existing) {
  ASSIGN_OR_RETURN(Path full, normal(path));
  RETURN_IF_ERROR(check_free(full, existing));
  std::error_code error;
  const bool there = std::filesystem::exists(std::filesystem::symlink_status(full, error)) && !is_empty_folder(full);
  const bool ours = std::filesystem::is_directory(full, error) && (std::filesystem::exists(full / "config.json", error) ||
                                                                   std::filesystem::exists(full / "adapter_config.json", error));
  if (there && !ours) {
    return Status(Code::kAlreadyExists,
                  full.string() + " is neither a model nor an adapter folder, so it is not replaced; give another name");
  }
  std::filesystem::create_directories(full.parent_path(), error);
  if (error) return failed(full.parent_path(), error.message());
  // Nobody sweeps between the making of a folder and its locking.
  const int parent = lock_folder(full.parent_path());
  if (parent >= 0) sweep(full);
  std::string pattern = temporary_start(full) + "XXXXXX";
  const bool made = ::mkdtemp(pattern.data()) != nullptr;
  const int made_error = errno;
  const int lock = made ? lock_folder(pattern) : -1;
  if (parent >= 0) ::close(parent);
  if (!made) return failed(full, std::strerror(made_error));
  std::filesystem::permissions(pattern, std::filesystem::perms(0755), error);
  return NewFolder(std::move(full), pattern, lock);
}

NewFolder::NewFolder(NewFolder&& other) noexcept
    : final_(std::move(other.final_)), temporary_(std::exchange(other.temporary_, {})), lock_(std::exchange(other.lock_, -1)) {}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

Status NewFolder::commit() {
  std::error_code error;
  const bool exchange = std::filesystem::exists(final_, error) && !is_empty_folder(final_);
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, final_.c_str(), exchange ? RENAME_EXCHANGE : 0) != 0) {
    return failed(final_, std::strerror(errno));
  }
  if (exchange) std::filesystem::remove_all(temporary_, error);
  temporary_.clear();
  const int parent = ::open(final_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent >= 0) {
    ::fsync(parent);
    ::close(parent);
  }
  return ok_status();
}

}  // namespace umbel
