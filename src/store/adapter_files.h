// AdapterFiles: the files of one adapter folder, opened once: what is checked and digested is what is read. Files whose names
// are gone or lead elsewhere by the end are found out (check_unchanged).
#pragma once

#include <map>
#include <stop_token>
#include <string>

#include "io/beneath.h"
#include "store/folder.h"

namespace umbel {

// Move-only; any thread may read.
class AdapterFiles {
 public:
  // Those of adapter_file_names() that are there; an absent one is no failure, one that may not be opened is (io/beneath.h).
  static Result<AdapterFiles> open(const FolderPlace& place);

  const FolderReader& folder() const { return folder_; }
  // Null when it is not there.
  const OpenFile* find(const std::string& name) const;

  // SHA-256 in hex over adapter_file_names() in their order: for each the length of its name, whether it is there, the name,
  // the content and its length (numbers as u64 little-endian). An absent file counts as absent: adding it changes the digest.
  // Reads in pieces; kCancelled soon after a stop is asked for.
  Result<std::string> digest(std::stop_token stop) const;

  // kUnavailable when a file was written, replaced, added or removed since open().
  Status check_unchanged() const;

 private:
  explicit AdapterFiles(FolderReader folder) : folder_(std::move(folder)) {}
  FolderReader folder_;
  std::map<std::string, OpenFile> files_;
};

}  // namespace umbel
