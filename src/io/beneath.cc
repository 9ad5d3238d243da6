#include "io/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "io/file_stamp.h"

namespace umbel {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

constexpr int kFolderFlags = O_PATH | O_DIRECTORY | O_CLOEXEC;

// Component by component, for kernels before 5.6 and sandboxes that do not know openat2. -1 and errno as openat2 has them.
int open_stepwise(int root, const Path& relative) {
  int at = ::dup(root);
  for (const Path& step : relative) {
    if (at < 0 || step.empty() || step == ".") continue;
    const Descriptor from(at);
    at = step == ".." ? -1 : ::openat(from.get(), step.c_str(), kFolderFlags | O_NOFOLLOW);
    if (step == "..") errno = EXDEV;
    if (at >= 0 || errno != ENOTDIR) continue;
    struct stat info {};  // ENOTDIR is what O_DIRECTORY | O_NOFOLLOW says of a link, too
    const bool link = ::fstatat(from.get(), step.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
    errno = link ? ELOOP : ENOTDIR;
  }
  return at;
}

// A folder below root without any link on the way; -1 and errno.
int open_below(int root, const Path& relative) {
  open_how how{};
  how.flags = static_cast<uint64_t>(kFolderFlags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long opened = ::syscall(SYS_openat2, root, relative.c_str(), &how, sizeof how);
  if (opened >= 0 || (errno != ENOSYS && errno != EPERM && errno != EAGAIN)) return static_cast<int>(opened);
  return open_stepwise(root, relative);
}

// Where an open descriptor really is.
Result<Path> real_path(int descriptor, const Path& shown) {
  std::vector<char> text(4096);
  const std::string self = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(self.c_str(), text.data(), text.size());
  if (length < 0 || static_cast<size_t>(length) == text.size()) return file_failure("cannot look up", shown, errno);
  return Path(std::string(text.data(), static_cast<size_t>(length)));
}

// Strictly below the folder, after its own links.
bool lies_beneath(const Path& root, const Path& real) {
  std::error_code error;
  const Path top = std::filesystem::canonical(root, error);
  if (error || root.empty()) return false;
  const auto [in_top, in_real] = std::mismatch(top.begin(), top.end(), real.begin(), real.end());
  return in_top == top.end() && in_real != real.end();
}

// The folder of the place, by way of links; -1 with the reason when it leads elsewhere.
Result<int> open_linked_folder(const FolderPlace& place) {
  Descriptor folder(::open(place.folder.c_str(), kFolderFlags));
  if (folder.get() < 0) return file_failure("cannot open the folder", place.folder, errno);
  ASSIGN_OR_RETURN(const Path real, real_path(folder.get(), place.folder));
  if (lies_beneath(place.root, real) || lies_beneath(place.links_root, real)) return folder.release();
  return invalid_argument(place.folder.string() + " leads out of the adapters folder, which is not allowed");
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

Path hub_links_root(const Path& folder) {
  std::error_code error;
  const Path real = std::filesystem::canonical(folder, error);
  if (error || real.parent_path().filename() != "snapshots") return {};
  const Path top = real.parent_path().parent_path();
  return std::filesystem::is_directory(std::filesystem::symlink_status(top / "blobs", error)) ? top : Path();
}

Result<FolderReader> FolderReader::open(const FolderPlace& place) {
  if (place.root.empty()) {
    const int descriptor = ::open(place.folder.c_str(), kFolderFlags);
    if (descriptor < 0) return file_failure("cannot open the folder", place.folder, errno);
    return FolderReader(place, descriptor);
  }
  const Path relative = place.folder.lexically_relative(place.root);
  const bool below = !relative.empty() && relative != "." && *relative.begin() != "..";
  if (!below) return invalid_argument(place.folder.string() + " leads out of the adapters folder, which is not allowed");
  const Descriptor root(::open(place.root.c_str(), kFolderFlags));
  if (root.get() < 0) return file_failure("cannot open the folder", place.root, errno);
  int descriptor = open_below(root.get(), relative);
  if (descriptor < 0 && (errno == ELOOP || errno == EXDEV)) {
    ASSIGN_OR_RETURN(descriptor, open_linked_folder(place));
  }
  if (descriptor < 0) return file_failure("cannot open the folder", place.folder, errno);
  return FolderReader(place, descriptor);
}

FolderReader::~FolderReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<NameStamps> NameStamps::open(const Path& dir) {
  const int descriptor = ::open(dir.c_str(), kFolderFlags);
  if (descriptor < 0) return file_failure("cannot open the folder", dir, errno);
  return NameStamps(descriptor);
}

NameStamps::~NameStamps() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::optional<FileStamp> NameStamps::of(const std::string& name) const {
  struct stat info {};
  if (::fstatat(descriptor_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return stamp_of(info);
}

Result<OpenFile> FolderReader::open_file(const std::string& name) const {
  const Path shown = place_.folder / name;
  if (!is_plain_name(name)) return invalid_argument("\"" + name + "\" is not the plain name of a file in " + place_.folder.string());
  struct stat info {};
  if (::fstatat(descriptor_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return file_failure("cannot open", shown, errno);
  if (S_ISLNK(info.st_mode)) return open_link(name);
  // Looked at before it is opened: opening a device can have effects of its own.
  if (!S_ISREG(info.st_mode)) return invalid_argument(shown.string() + " is not a regular file");
  const int descriptor = ::openat(descriptor_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
  if (descriptor < 0 && errno == ELOOP) return open_link(name);  // became one meanwhile
  return OpenFile::adopt(descriptor, shown);
}

Result<OpenFile> FolderReader::open_link(const std::string& name) const {
  const Path shown = place_.folder / name;
  const Status refused = invalid_argument(
      shown.string() + " is a link, and links in an adapter's folder are not followed: put the file itself there" +
      (place_.links_root.empty() ? ", or allow links into a shared cache with --adapter-links-root DIR"
                                 : "; they may lead to " + place_.links_root.string() + " only"));
  if (place_.links_root.empty()) return refused;
  // O_PATH opens nothing yet: where it leads and what it is can be looked at first, and stays what it is.
  const Descriptor target(::openat(descriptor_, name.c_str(), O_PATH | O_CLOEXEC));
  if (target.get() < 0) return file_failure("cannot open", shown, errno);
  ASSIGN_OR_RETURN(const Path real, real_path(target.get(), shown));
  if (!lies_beneath(place_.links_root, real)) return refused;
  struct stat info {};
  if (::fstat(target.get(), &info) != 0) return file_failure("cannot stat", shown, errno);
  if (!S_ISREG(info.st_mode)) return invalid_argument(shown.string() + " is not a regular file");
  const std::string self = "/proc/self/fd/" + std::to_string(target.get());
  return OpenFile::adopt(::open(self.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), shown);
}

std::optional<FileStamp> FolderReader::stamp(const std::string& name) const {
  struct stat info {};
  if (!is_plain_name(name) || ::fstatat(descriptor_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  if (S_ISLNK(info.st_mode) && !place_.links_root.empty()) {
    const Result<OpenFile> file = open_link(name);
    if (file.ok()) return file->stamp();
  }
  return stamp_of(info);
}

Result<std::string> FolderReader::read(const std::string& name, size_t limit_bytes) const {
  ASSIGN_OR_RETURN(const OpenFile file, open_file(name));
  return file.read(limit_bytes);
}

}  // namespace umbel
