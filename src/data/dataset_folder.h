// Folders of data as Hugging Face's datasets lays them out: a README.md whose front matter says which files are which split of which
// configuration, or names that say it themselves (data/train-00000-of-00001.parquet, test.jsonl, validation/a.csv).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/row_source.h"

namespace umbel::data {

// One split of a folder, as a name of data says it: FOLDER, FOLDER:SPLIT or FOLDER:CONFIGURATION:SPLIT. "" = the only one there is,
// of configurations also the one that is called default.
struct FolderSplit {
  Path folder;
  std::string configuration, split;
};

// Absent when no such folder is there.
std::optional<FolderSplit> folder_split(const Path& name);
// The other way round.
Path folder_split_name(const FolderSplit& split);

// The split's files in the order of their names, as README.md or the names say. kNotFound, naming what there is, for a configuration or a
// split that is not there, or is not named where there are several; kInvalidArgument for a front matter that is none.
Result<std::vector<Path>> split_files(const FolderSplit& split);

// Rows of all files, one file after another; "line" counts through. REQUIRES a folder.
Result<std::unique_ptr<RowSource>> open_split(const FolderSplit& split);

}  // namespace umbel::data
