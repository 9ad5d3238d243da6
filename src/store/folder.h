// Folders of adapters on disk: which names are allowed, which folders are adapters, and whether one has changed.
// Plain functions over the file system; nothing here remembers anything.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/beneath.h"

namespace umbel {

inline constexpr size_t kAdapterNameMax = 128;  // bytes
inline constexpr const char* kAdapterTemplateName = "chat_template.jinja";
inline constexpr size_t kAdapterTemplateBytesMax = size_t{1} << 20;
inline constexpr const char* kAdapterPromptName = "umbel_prompt.json";  // data/prompt_file.h
// The files about text that a folder may have; what they say wins over the base's.
inline constexpr const char* kAdapterTextNames[] = {kAdapterTemplateName,   "tokenizer_config.json",   "tokenizer.json",
                                                    "added_tokens.json", "special_tokens_map.json", "generation_config.json",
                                                    kAdapterPromptName};

// Letters, digits and "._-+@=:", not beginning with '.', at most kAdapterNameMax bytes: safe in a path, a URL, a log line
// and a metric's label. kInvalidArgument says what is wrong.
Status check_adapter_name(std::string_view name);

// What stat() says about the files that make an adapter; two equal stamps mean that nothing was written in between
// (up to the file system's clock tick, hence newest_ns).
struct FolderStamp {
  struct File {
    std::string name;
    FileStamp stamp;
    bool operator==(const File&) const = default;
  };
  std::vector<File> files;  // those that exist, whatever they are, in the order of adapter_file_names()

  bool operator==(const FolderStamp&) const = default;
  int64_t newest_ns() const;     // latest changed_ns (wall clock), 0 without files
  size_t tensor_bytes() const;   // size of the tensors' file, 0 when absent
  bool has(std::string_view name) const;
  bool has_text() const;         // one of kAdapterTextNames
};

// The names of the files that make an adapter: configuration, tensors, those about text. A content digest takes them in this
// order.
const std::vector<std::string>& adapter_file_names();
FolderStamp stamp_folder(const FolderReader& folder);

// Sub-folders of dir with an adapter_config.json. A link that leads out of dir (and out of links_root) is in it too, with why
// it is refused.
struct FoundFolder {
  FolderPlace place;
  FolderStamp stamp;
  Status status;  // not ok: may not be used
  std::optional<FileStamp> self;  // of the folder itself, taken before its files were looked at
};
using FoundFolders = std::map<std::string, FoundFolder>;  // by name
// before: what an earlier scan of the same dir found. A folder that stat() says the same of, and whose names have been at rest,
// is not opened again.
Result<FoundFolders> scan_folders(const Path& dir, const Path& links_root = {}, const FoundFolders& before = {});
// The same of the sub-folders with these names alone: dir itself is not read, whatever else it holds.
Result<FoundFolders> look_at_folders(const Path& dir, std::span<const std::string> names, const Path& links_root = {});

// dir / folder, when that is an existing folder inside dir: no "..", no absolute path, no link out of it (or, with links_root,
// only to beneath that).
Result<FoundFolder> find_folder(const Path& dir, const std::string& folder, const Path& links_root = {});

}  // namespace umbel
