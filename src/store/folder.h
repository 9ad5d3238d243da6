// Folders of adapters on disk: which names are allowed, which folders are adapters, and whether one has changed.
// Plain functions over the file system; nothing here remembers anything.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

inline constexpr size_t kAdapterNameMax = 128;  // bytes
inline constexpr const char* kAdapterTemplateName = "chat_template.jinja";

// Letters, digits and "._-+@=:", not beginning with '.', at most kAdapterNameMax bytes: safe in a path, a URL, a log line
// and a metric's label. kInvalidArgument says what is wrong.
Status check_adapter_name(std::string_view name);

// What stat() says about the files that make an adapter; two equal stamps mean that nothing was written in between
// (up to the file system's clock tick, hence newest_ns).
struct FolderStamp {
  struct File {
    std::string name;
    uint64_t size = 0;
    uint64_t inode = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;  // set by the kernel on every change, also of a file that was moved into place
    bool operator==(const File&) const = default;
  };
  std::vector<File> files;  // those that exist, in the order of adapter_files()

  bool operator==(const FolderStamp&) const = default;
  int64_t newest_ns() const;     // latest changed_ns (wall clock), 0 without files
  size_t tensor_bytes() const;   // size of the tensors' file, 0 when absent
  bool has(std::string_view name) const;
};

// The files that make an adapter, present or not: configuration, tensors, its own chat template.
std::vector<Path> adapter_files(const Path& folder);
FolderStamp stamp_folder(const Path& folder);

// Sub-folders of dir with an adapter_config.json. A link that leads out of dir is in it too, with why it is refused.
struct FoundFolder {
  Path path;
  FolderStamp stamp;
  Status status;  // not ok: may not be used
};
Result<std::map<std::string, FoundFolder>> scan_folders(const Path& dir);

// dir / folder, when that is an existing folder inside dir: no "..", no absolute path, no link out of it.
Result<Path> resolve_inside(const Path& dir, const std::string& folder);

}  // namespace umbel
