// Dataset: files of strangers' rows turned into Examples.
//
// Formats (dataset_options.h, row_format.h) come as JSON lines, as one JSON list, or as CSV with a header (row_source.h), plain
// or gzip. A file is read as a stream, never held as a whole, and tokenised by many threads; order and result are the
// file's. With a cache folder a file is tokenised once (dataset_cache.h).
//
// For who trains: options that change what a step is (pack, join) are carried out here. A batch takes units, not examples:
// data.unit(i) for i in [0, data.units()) is one example, or with pack the examples of one pack.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/dataset_options.h"
#include "train/example.h"

namespace umbel {

struct Dataset {
  std::vector<Example> examples;
  std::vector<SkippedRow> skipped;
  std::vector<CutRow> cut;
  std::vector<std::string> files;  // that it came from
  RowFormat format = RowFormat::kAuto;  // of the first file
  int64_t trained_tokens = 0;           // of examples
  int64_t cut_rows = 0;                 // cut.size()
  int64_t rows = 0;                     // read: used and skipped
  int64_t files_cached = 0;             // that came from the cache
  std::vector<size_t> packs;            // where each unit begins in examples; empty = an example is a unit

  size_t units() const { return packs.empty() ? examples.size() : packs.size(); }
  std::span<const Example> unit(size_t index) const;
  // "FILE:LINE", for messages.
  std::string place(int32_t file, int64_t line) const;
};

// What is held out for evaluation: the last rows of the files, in their order.
struct EvalSplit {
  int64_t rows = 0;   // at most one of the two is set
  double share = 0;   // of the usable rows, rounded down, at least one

  bool empty() const { return rows == 0 && share == 0; }
};

// "300" = rows, "0.1" or "10%" = share.
Result<EvalSplit> parse_eval_split(const std::string& text);

// Takes the last usable rows out of data and returns them. Both keep their order; skipped and cut rows stay reported by
// data. kInvalidArgument when nothing would be left to train on, or data is packed or joined (load_split does it in the
// right order).
Result<Dataset> split_tail(Dataset& data, const EvalSplit& split);

struct SplitDataset {
  Dataset train, held_out;
};

// One file, or several as if they stood behind each other (all of one format unless options say it).
// kInvalidArgument naming file and line for a file that isn't there, is not UTF-8, has no rows, or has too many that
// can't be used (options.unusable_share_max; none at all that can is always refused). Otherwise such rows are in skipped.
Result<Dataset> load_dataset(const Path& file, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                             const DatasetOptions& options);
Result<Dataset> load_dataset(std::span<const Path> files, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                             const DatasetOptions& options);
// Split before joining and packing, so that no window or pack holds rows of both sides.
Result<SplitDataset> load_split(std::span<const Path> files, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                                const DatasetOptions& options, const EvalSplit& split);

}  // namespace umbel
