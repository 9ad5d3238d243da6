#include "store/folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "base/printable.h"
#include "base/utc.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

constexpr int64_t kNamesRestNs = 1'000'000'000;  // beyond any clock's tick

bool is_name_byte(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || (c >= '0' && c <= '9') || std::string_view("._-+@=:").find(c) != std::string_view::npos;
}

// Looked at from its own descriptor, so that what is said of it is of one folder.
FoundFolder look_at(const FolderPlace& place) {
  FoundFolder found{.place = place};
  const Result<FolderReader> folder = FolderReader::open(place);
  if (folder.ok()) {
    found.stamp = stamp_folder(*folder);
  } else {
    found.status = folder.status();
  }
  return found;
}

// A link that leads elsewhere is worth a word when an adapter is there; nothing of it is read.
bool is_worth_listing(const FoundFolder& found) {
  if (found.status.ok()) return found.stamp.has(kAdapterConfigName);
  std::error_code error;
  return found.status.code() == Code::kInvalidArgument && std::filesystem::exists(found.place.folder / kAdapterConfigName, error);
}

// Whether stat() says what it said before of the folder and of each of its files. A name that is new changes the folder itself, a
// clock's tick or more after any other: one that changed just now is looked at again.
bool is_unchanged(const NameStamps& stamps, const std::optional<FileStamp>& self, const FoundFolders::value_type& before, int64_t now_ns) {
  const FoundFolder& folder = before.second;
  const bool rests = self && self == folder.self && now_ns - self->changed_ns > kNamesRestNs && folder.status.ok();
  if (!rests || !S_ISDIR(self->mode)) return false;
  return std::all_of(folder.stamp.files.begin(), folder.stamp.files.end(), [&](const FolderStamp::File& file) {
    return !S_ISLNK(file.stamp.mode) && stamps.of(before.first + "/" + file.name) == file.stamp;
  });
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
  for (const File& file : files) newest = std::max(newest, file.stamp.changed_ns);
  return newest;
}

size_t FolderStamp::tensor_bytes() const {
  for (const File& file : files) {
    if (file.name == kAdapterTensorsName) return file.stamp.size;
  }
  return 0;
}

bool FolderStamp::has(std::string_view name) const {
  return std::any_of(files.begin(), files.end(), [&](const File& file) { return file.name == name; });
}

bool FolderStamp::has_text() const {
  return std::any_of(std::begin(kAdapterTextNames), std::end(kAdapterTextNames), [this](const char* name) { return has(name); });
}

const std::vector<std::string>& adapter_file_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {kAdapterConfigName, kAdapterTensorsName};
    all.insert(all.end(), std::begin(kAdapterTextNames), std::end(kAdapterTextNames));
    return all;
  }();
  return names;
}

FolderStamp stamp_folder(const FolderReader& folder) {
  FolderStamp stamp;
  for (const std::string& name : adapter_file_names()) {
    if (const std::optional<FileStamp> file = folder.stamp(name)) stamp.files.push_back({name, *file});
  }
  return stamp;
}

Result<FoundFolders> look_at_folders(const Path& dir, std::span<const std::string> names, const Path& links_root) {
  FoundFolders found;
  for (const std::string& name : names) {
    FoundFolder folder = look_at({.folder = dir / name, .root = dir, .links_root = links_root});
    if (is_worth_listing(folder)) found.emplace(name, std::move(folder));
  }
  return found;
}

Result<FoundFolders> scan_folders(const Path& dir, const Path& links_root, const FoundFolders& before) {
  std::error_code error;
  std::filesystem::directory_iterator entry(dir, error);
  if (error) return not_found("the adapters folder " + dir.string() + " cannot be read: " + error.message());
  ASSIGN_OR_RETURN(const NameStamps stamps, NameStamps::open(dir));
  const int64_t now_ns = utc_now_ms() * 1'000'000;
  FoundFolders found;
  while (entry != std::filesystem::directory_iterator()) {
    std::string name = entry->path().filename().string();
    const std::optional<FileStamp> self = stamps.of(name);
    const auto known = before.find(name);
    if (known != before.end() && is_unchanged(stamps, self, *known, now_ns) && known->second.place.folder == entry->path()) {
      found.emplace(std::move(name), known->second);
    } else {
      FoundFolder folder = look_at({.folder = entry->path(), .root = dir, .links_root = links_root});
      folder.self = self;
      if (is_worth_listing(folder)) found.emplace(std::move(name), std::move(folder));
    }
    entry.increment(error);
    if (error) return Status(Code::kUnavailable, "the adapters folder " + dir.string() + ": " + error.message());
  }
  return found;
}

Result<FoundFolder> find_folder(const Path& dir, const std::string& folder, const Path& links_root) {
  if (folder.empty() || folder.find('\0') != std::string::npos) return invalid_argument("the adapter's folder is empty");
  constexpr size_t kPathMax = 4096;  // bytes, Linux' PATH_MAX
  if (folder.size() > kPathMax) {
    return invalid_argument("the adapter's folder has a name of " + std::to_string(folder.size()) + " bytes; at most " +
                            std::to_string(kPathMax) + " are allowed");
  }
  const Path relative(folder);
  const bool upwards = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (relative.is_absolute() || upwards) {
    return invalid_argument("the adapter's folder must be given relative to the adapters folder, without \"..\"");
  }
  Path path = (dir / relative).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  FoundFolder found = look_at({.folder = path, .root = dir, .links_root = links_root});
  if (found.status.ok()) return found;
  const std::string shown = "\"" + printable(folder, kPrintableNameMax) + "\"";  // and not where it would be on this machine
  if (found.status.code() == Code::kNotFound) return not_found("there is no folder " + shown + " in the adapters folder");
  if (found.status.code() != Code::kInvalidArgument) return Status(found.status.code(), "the folder " + shown + " can't be opened");
  return invalid_argument(shown + " leads out of the adapters folder, or to itself, which is not allowed");
}

}  // namespace umbel
