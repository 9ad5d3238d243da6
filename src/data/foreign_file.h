// Files that hold rows in a form that is not read here, told by their first bytes.
#pragma once

#include "base/status.h"
#include "io/file.h"

namespace umbel::data {

// kUnsupported, naming the form and what makes JSON lines of it, for encrypted Parquet, Arrow, Avro, HDF5, SQLite, pickle, spreadsheets, archives,
// other compression than gzip and zstd, and pointers of Git LFS. Pipes are not looked at; a file that can't be read is another's to report.
Status check_not_foreign(const Path& path);

}  // namespace umbel::data
