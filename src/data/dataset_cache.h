// The cache of tokenised files: what a file's rows became, under a key that names everything it depends on.
//
// A cache file is written beside its place and renamed, ends with the SHA-256 of all before, and names its key inside. A file
// that is cut off, changed, of another version or of another key is not used: reading it fails, and the rows are made anew.
#pragma once

#include <string>

#include "base/status.h"
#include "data/dataset.h"
#include "io/file.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::data {

// Hex digest of the file's bytes, tokenizer, chat template, format, limits and this code's version. A template that asks
// for the time (strftime_now) has a key a day.
Result<std::string> dataset_cache_key(const Path& file, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                                      const DatasetOptions& options);

// dir/KEY.rows.
Path dataset_cache_path(const Path& dir, const std::string& key);

// Of one file: examples, skipped, cut, format, rows, trained_tokens. kNotFound or kDataLoss when it can't be had.
Result<Dataset> read_dataset_cache(const Path& dir, const std::string& key);

// Writes, then removes the least recently used *.rows files of dir until at most bytes_max are left.
Status write_dataset_cache(const Path& dir, const std::string& key, const Dataset& data, uint64_t bytes_max);

}  // namespace umbel::data
