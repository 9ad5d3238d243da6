// Parquet files as RowSources: every row an object of its columns; groups are objects, lists are lists, maps are objects by their keys,
// dates and times are texts as ISO 8601 writes them, bytes that are no UTF-8 are base64.
#pragma once

#include <memory>

#include "data/row_source.h"

namespace umbel::data {

// By its first bytes. False for pipes, and for what can't be read.
bool is_parquet(const Path& path);

// "line" is the row's number, from 1. The file is read by a helper process (parquet_worker.h), so a hostile one costs that process and
// is kDataLoss, as one that is cut short or damaged. kUnsupported for compression or types that are not read.
Result<std::unique_ptr<RowSource>> open_parquet(const Path& path);

}  // namespace umbel::data
