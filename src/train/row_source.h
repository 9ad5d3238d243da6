// RowSource: the rows of a data file one after another, not yet understood: lines of JSON, elements of one JSON list, or
// CSV records. Memory holds one row.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "text/chat_template.h"

namespace umbel {

struct RawRow {
  int64_t line = 0;                 // where it begins
  std::string text;                 // JSON
  std::vector<std::string> fields;  // CSV
  std::string problem;              // not empty: the row can't be read, and why
};

// One thread.
class RowSource {
 public:
  // NAME.csv and NAME.tsv (also .gz) are CSV with a header; a file that begins with '[' is one JSON list; anything else has
  // one JSON object a line. Errors name the file: not there, not UTF-8, a CSV header without names or with one name twice.
  static Result<std::unique_ptr<RowSource>> open(const Path& path);
  virtual ~RowSource() = default;

  // The next row; false at the end. Rows that can't be read come with their problem. A failure means that the file can't be
  // read on: damaged gzip, a line beyond all limits.
  virtual Result<bool> next(RawRow& row) = 0;
  // Of CSV; empty for JSON.
  virtual const std::vector<std::string>& columns() const = 0;
};

// The row as an object. Any thread. A CSV record gives texts, one a column.
Result<OrderedJson> parse_row(const RawRow& row, const std::vector<std::string>& columns);

}  // namespace umbel
