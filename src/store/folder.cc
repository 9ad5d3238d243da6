#include "store/folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "store/peft_dir.h"

namespace umbel {
namespace {



bool is_name_byte(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || (c >= '0' && c <= '9') || std::string_view("._-+@=:").find(c) != std::string_view::npos;
}

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

// Both canonical: is path dir itself or below it?
bool is_inside(const Path& dir, const Path& path) {
  return std::mismatch(dir.begin(), dir.end(), path.begin(), path.end()).first == dir.end();
}

// Ok when the folder, after links, lies below dir.
Status check_inside(const Path& dir, const Path& path) {
  std::error_code error;
  const Path root = std::filesystem::canonical(dir, error);
  if (error) return not_found("the adapters folder " + dir.string() + " cannot be read: " + error.message());
  const Path target = std::filesystem::canonical(path, error);
  if (error) return not_found("there is no folder " + path.string());
  if (!is_inside(root, target) || target == root) {
    return Status(Code::kInvalidArgument, path.string() + " leads out of the adapters folder, which is not allowed");
  }
  if (!std::filesystem::is_directory(target, error)) return invalid_argument(path.string() + " is not a folder");
  return ok_status();
}

}  // namespace

Status check_adapter_name(std::string_view name) {
  if (name.empty()) return invalid_argument("an adapter's name is empty");
  if (name.size() > kAdapterNameMax) {
    return invalid_argument("an adapter's name has " + std::to_string(name.size()) + " bytes; at most " +
                            std::to_string(kAdapterNameMax) + " are allowed");
  }
  const bool allowed = name.front() != '.' && std::all_of(name.begin(), name.end(), is_name_byte);
  if (allowed) return ok_status();
  return invalid_argument("an adapter's name may hold letters, digits and . _ - + @ = : only, and not begin with a dot");
}

int64_t FolderStamp::newest_ns() const {
  int64_t newest = 0;
  for (const File& file : files) newest = std::max(newest, file.changed_ns);
  return newest;
}

size_t FolderStamp::tensor_bytes() const {
  for (const File& file : files) {
    if (file.name == kAdapterTensorsName) return file.size;
  }
  return 0;
}

bool FolderStamp::has(std::string_view name) const {
  return std::any_of(files.begin(), files.end(), [&](const File& file) { return file.name == name; });
}

std::vector<Path> adapter_files(const Path& folder) {
  std::vector<Path> files = PeftDir::files(folder);
  files.push_back(folder / kAdapterTemplateName);
  return files;
}

FolderStamp stamp_folder(const Path& folder) {
  FolderStamp stamp;
  for (const Path& path : adapter_files(folder)) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    stamp.files.push_back({path.filename().string(), static_cast<uint64_t>(info.st_size), info.st_ino,
                           nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)});
  }
  return stamp;
}

Result<std::map<std::string, FoundFolder>> scan_folders(const Path& dir) {
  std::error_code error;
  std::filesystem::directory_iterator entry(dir, error);
  if (error) return not_found("the adapters folder " + dir.string() + " cannot be read: " + error.message());
  std::map<std::string, FoundFolder> found;
  while (entry != std::filesystem::directory_iterator()) {
    FoundFolder folder{.path = entry->path()};
    folder.stamp = stamp_folder(folder.path);
    if (folder.stamp.has(kAdapterConfigName)) {
      folder.status = check_inside(dir, folder.path);
      found.emplace(folder.path.filename().string(), std::move(folder));
    }
    entry.increment(error);
    if (error) return Status(Code::kUnavailable, "the adapters folder " + dir.string() + ": " + error.message());
  }
  return found;
}

Result<Path> resolve_inside(const Path& dir, const std::string& folder) {
  if (folder.empty() || folder.find('\0') != std::string::npos) return invalid_argument("the adapter's folder is empty");
  const Path relative(folder);
  const bool upwards = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (relative.is_absolute() || upwards) {
    return invalid_argument("the adapter's folder must be given relative to the adapters folder, without \"..\"");
  }
  const Path path = (dir / relative).lexically_normal();
  RETURN_IF_ERROR(check_inside(dir, path));
  return path;
}

}  // namespace umbel
