// RowSource: the rows of a data file one after another, not yet understood: lines of JSON, elements of one JSON list, CSV records,
// rows of Parquet. Memory holds one row (of Parquet some).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "text/chat_template.h"

namespace umbel::data {

struct RawRow {
  int64_t line = 0;                 // where it begins
  std::string text;                 // JSON
  std::vector<std::string> fields;  // CSV
  std::string problem;              // not empty: the row can't be read, and why
};

// One thread.
class RowSource {
 public:
  // NAME.csv and NAME.tsv (also .gz, .zst) are tables (table_source.h), with a header or with the columns that are given; Parquet is known by
  // its first bytes (parquet_source.h); a folder, FOLDER:SPLIT and FOLDER:CONFIGURATION:SPLIT are a data set's (dataset_folder.h); a file
  // that begins with '[' is one JSON list; anything else has one JSON object a line. Errors name the file: not there, not UTF-8, a header without
  // names or with one name twice, columns for a file that is no table, a file of another kind (foreign_file.h).
  static Result<std::unique_ptr<RowSource>> open(const Path& path, const std::vector<std::string>& columns = {});
  virtual ~RowSource() = default;

  // The next row; false at the end. Rows that can't be read come with their problem. A failure means that the file can't be
  // read on: damaged gzip, a line beyond all limits.
  virtual Result<bool> next(RawRow& row) = 0;
  // Of CSV; empty for JSON.
  virtual const std::vector<std::string>& columns() const = 0;
};

// The row as an object. Any thread. A CSV record gives texts, one a column.
Result<OrderedJson> parse_row(const RawRow& row, const std::vector<std::string>& columns);

struct ObjectOptions {
  size_t rows_max = SIZE_MAX;        // the first of them
  std::vector<std::string> columns;  // of a table without a header
};

// Every row of the file as an object with its line, until there are rows_max of them or `take` fails. Failures name file and line; a file
// without rows is one.
Status each_object(const Path& file, const ObjectOptions& options, const std::function<Status(const OrderedJson&, int64_t)>& take);

}  // namespace umbel::data
