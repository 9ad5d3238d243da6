// FolderReader: the files of one folder that a stranger wrote (an adapter), read from beneath it and from nowhere else.
//
// A name is one plain file name. Links are not followed: a link is a way to have this program read what its writer may not.
// The one exception: links_root, which the operator names (a shared cache of the Hugging Face hub keeps its snapshots as links
// into ../../blobs). A link is then followed when what it leads to lies beneath that folder, and only then. Only regular files
// are opened; nothing is ever waited for. The folder stays the one that was opened, whatever is renamed meanwhile.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "io/open_file.h"

namespace umbel {

struct FolderPlace {
  Path folder;
  // Not empty: folder was named by a stranger and must lie beneath root, after links.
  Path root;
  // Not empty: links may lead to what lies beneath it.
  Path links_root;
};

// The folder whose files a snapshot's links may lead to, when folder is HUB/models--X/snapshots/REVISION with a "blobs" beside
// "snapshots": HUB/models--X. Else empty. For a folder that the operator named.
Path hub_links_root(const Path& folder);

// Move-only; any thread may read.
class FolderReader {
 public:
  // kNotFound when there is no such folder; kInvalidArgument when it leads out of its root (or is the root).
  static Result<FolderReader> open(const FolderPlace& place);
  FolderReader(FolderReader&& other) noexcept
      : place_(std::move(other.place_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderReader& operator=(FolderReader&&) = delete;
  ~FolderReader();

  const FolderPlace& place() const { return place_; }
  const Path& path() const { return place_.folder; }

  // kNotFound when it isn't there, kInvalidArgument naming it when it is a link that may not be followed, or no regular file.
  Result<OpenFile> open_file(const std::string& name) const;
  // Something of this name is there, whatever it is.
  bool has(const std::string& name) const { return stamp(name).has_value(); }
  // Of the file; of the link itself when it may not be followed. Opens nothing that is not a link.
  std::optional<FileStamp> stamp(const std::string& name) const;
  Result<std::string> read(const std::string& name, size_t limit_bytes) const;

 private:
  FolderReader(FolderPlace place, int descriptor) : place_(std::move(place)), descriptor_(descriptor) {}
  Result<OpenFile> open_link(const std::string& name) const;

  FolderPlace place_;
  int descriptor_;
};

// What stat() says of names beneath one folder: nothing is opened and no link is followed to its end, so it is cheap enough to
// ask of thousands of files every second whether they have changed.
class NameStamps {
 public:
  static Result<NameStamps> open(const Path& dir);
  NameStamps(NameStamps&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  NameStamps& operator=(NameStamps&&) = delete;
  ~NameStamps();

  // Of dir/name, where a link itself and not what it leads to. Nothing when it isn't there.
  std::optional<FileStamp> of(const std::string& name) const;

 private:
  explicit NameStamps(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace umbel
