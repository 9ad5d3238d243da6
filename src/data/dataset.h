// Dataset: files of strangers' rows turned into Examples.
//
// Formats (dataset_options.h, row_format.h) come as JSON lines, as one JSON list, or as CSV with a header (row_source.h), plain
// or gzip. A file is read as a stream, never held as a whole, and tokenised by many threads; order and result are the
// file's. With a cache folder a file is tokenised once (dataset_cache.h).
//
// For who trains: options that change what a step is (pack, join) are carried out here. A batch takes units, not examples:
// data.unit(i) for i in [0, data.units()) is one example, or with pack the examples of one pack.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/dataset_options.h"
#include "data/example.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::data {

inline constexpr size_t kUnreadFields = 64;

struct Dataset {
  std::vector<Example> examples;
  std::vector<SkippedRow> skipped;
  std::vector<CutRow> cut;
  std::vector<std::string> files;  // that it came from
  RowFormat format = RowFormat::kAuto;  // of the first file
  int64_t trained_tokens = 0;           // of examples
  int64_t cut_rows = 0;                 // cut.size()
  int64_t rows = 0;                     // read: used and skipped
  std::map<std::string, int64_t> unread;  // fields that the format does not read (at most kUnreadFields of them): rows that have them
  int64_t files_cached = 0;             // that came from the cache
  bool joined = false;                  // examples are windows of joined texts
  std::vector<size_t> packs;            // where each unit begins in examples; empty = an example is a unit

  size_t units() const { return packs.empty() ? examples.size() : packs.size(); }
  std::span<const Example> unit(size_t index) const;
  // "FILE:LINE", for messages.
  std::string place(int32_t file, int64_t line) const;
};

// What is held out for evaluation: rows drawn by a seed, of every answer its share.
struct EvalSplit {
  int64_t rows = 0;   // at most one of the two is set
  double share = 0;   // of the usable rows, rounded down, at least one
  uint64_t seed = 1;

  bool empty() const { return rows == 0 && share == 0; }
};

// "300" = rows, "0.1" or "10%" = share.
Result<EvalSplit> parse_eval_split(const std::string& text);

// Takes usable rows out of data and returns them: a pure function of the rows and the split. Where answers repeat (labels), each
// gives its share of the rows held out, to within one; else all rows are alike. The examples of one row stay together. Both sides keep
// their order; skipped and cut rows stay reported by data. kInvalidArgument when nothing would be left to train on, or data is packed
// or joined (load_split does it in the right order).
Result<Dataset> hold_out(Dataset& data, const EvalSplit& split);

// Examples of `held` that stand in `train` too, token for token.
int64_t count_shared(const Dataset& train, const Dataset& held);

// How often each answer (what a row trains) occurs, the most frequent first; ties in the order of the data.
struct AnswerCount {
  size_t example;  // the first that has it
  int64_t rows;
};
std::vector<AnswerCount> count_answers(const Dataset& data);

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

}  // namespace umbel::data
