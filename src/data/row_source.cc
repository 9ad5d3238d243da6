#include "data/row_source.h"

#include <algorithm>

#include "data/dataset_folder.h"
#include "data/foreign_file.h"
#include "data/parquet_source.h"
#include "data/table_source.h"
#include "io/byte_stream.h"

namespace umbel::data {
namespace {

constexpr const char* kBlank = " \t\r";

bool is_blank(const std::string& line) { return line.find_first_not_of(kBlank) == std::string::npos; }

class JsonLines final : public RowSource {
 public:
  explicit JsonLines(LineReader lines) : lines_(std::move(lines)) {}

  Result<bool> next(RawRow& row) override {
    row = {};
    do {
      ASSIGN_OR_RETURN(const bool more, lines_.next(row.text));
      if (!more) return false;
    } while (is_blank(row.text));
    row.line = lines_.line();
    return true;
  }
  const std::vector<std::string>& columns() const override { return columns_; }

 private:
  LineReader lines_;
  std::vector<std::string> columns_;
};

// Splits [a, b, ...] into its elements by brackets and strings alone; whether an element is JSON is checked by parse_row.
class JsonList final : public RowSource {
 public:
  explicit JsonList(LineReader lines) : lines_(std::move(lines)) {}

  Result<bool> next(RawRow& row) override {
    row = {};
    if (ended_) return trailing(row);
    int depth = 0;
    bool in_string = false;
    while (true) {
      if (at_ == line_.size()) {
        ASSIGN_OR_RETURN(const bool more, next_line(row));
        if (!more) return row.line > 0;
        continue;
      }
      const char c = line_[at_++];
      if (row.line == 0 && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) continue;
      if (in_string) {
        take(row, c);
        if (c == '\\' && at_ < line_.size()) take(row, line_[at_++]);
        in_string = c != '"';
        continue;
      }
      if (depth == 0 && c == '[' && !opened_) {
        opened_ = true;
        continue;
      }
      if (depth == 0 && (c == ',' || c == ']')) {
        ended_ = c == ']';
        if (row.line > 0) return true;
        if (ended_) return trailing(row);
        continue;
      }
      take(row, c);
      in_string = c == '"';
      depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    }
  }
  const std::vector<std::string>& columns() const override { return columns_; }

 private:
  void take(RawRow& row, char c) {
    if (row.line == 0) row.line = std::max<int64_t>(lines_.line(), 1);
    row.text += c;
  }
  // Behind the list only blanks may stand.
  Result<bool> trailing(RawRow& row) {
    while (!finished_) {
      at_ = std::min(line_.find_first_not_of(" \t\r\n", at_), line_.size());
      if (at_ < line_.size()) {
        finished_ = true;
        row.line = lines_.line();
        row.problem = "text behind the closing ] of the list that begins the file; a file is one list, or has one JSON object a line";
        return true;
      }
      ASSIGN_OR_RETURN(const bool more, lines_.next(line_));
      at_ = 0;
      finished_ = !more;
    }
    return false;
  }
  // False at the end of the file, which is a problem of its last row when the list is still open.
  Result<bool> next_line(RawRow& row) {
    ASSIGN_OR_RETURN(const bool more, lines_.next(line_));
    if (!more) {
      ended_ = finished_ = true;
      row.line = row.line > 0 ? row.line : lines_.line();
      row.problem = "the list that begins the file has no closing ]: the file is cut off";
      return false;
    }
    line_ += '\n';
    at_ = 0;
    return true;
  }

  LineReader lines_;
  std::string line_;
  size_t at_ = 0;
  bool opened_ = false, ended_ = false, finished_ = false;  // the list's [, its ], the file
  std::vector<std::string> columns_;
};

// Whether the first character that is not blank is '['. Lines without any are passed over.
Result<bool> begins_with_list(LineReader& lines) {
  std::string line;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, lines.next(line));
    if (!more) return false;
    if (is_blank(line)) continue;
    lines.put_back();
    return line[line.find_first_not_of(kBlank)] == '[';
  }
}

}  // namespace

Result<std::unique_ptr<RowSource>> RowSource::open(const Path& path, const std::vector<std::string>& columns) {
  if (const auto split = folder_split(path)) {
    if (!columns.empty()) return invalid_argument("columns names the columns of one file without a header, and \"" + split->folder.string() + "\" is a folder");
    return open_split(*split);
  }
  if (is_parquet(path)) {
    if (!columns.empty()) return invalid_argument("columns names the columns of a file without a header, and the Parquet file \"" + path.string() + "\" has names of its own");
    return open_parquet(path);
  }
  RETURN_IF_ERROR(check_not_foreign(path));
  Path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  if (name.extension() == ".csv") return open_table(path, ',', columns);
  if (name.extension() == ".tsv") return open_table(path, '\t', columns);
  if (!columns.empty()) {
    return invalid_argument("columns names the columns of a .csv or .tsv file without a header, and \"" + path.string() + "\" is neither");
  }
  ASSIGN_OR_RETURN(LineReader lines, LineReader::open(path));
  ASSIGN_OR_RETURN(const bool list, begins_with_list(lines));
  if (list) return std::unique_ptr<RowSource>(std::make_unique<JsonList>(std::move(lines)));
  return std::unique_ptr<RowSource>(std::make_unique<JsonLines>(std::move(lines)));
}

Result<OrderedJson> parse_row(const RawRow& row, const std::vector<std::string>& columns) {
  if (!row.problem.empty()) return invalid_argument(row.problem);
  if (columns.empty()) return parse_ordered_json(row.text, "JSON");
  OrderedJson object = OrderedJson::object();
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!is_utf8(row.fields[i])) return invalid_argument("field \"" + columns[i] + "\" is not UTF-8");
    object[columns[i]] = row.fields[i];
  }
  return object;
}

Status each_object(const Path& file, const ObjectOptions& options, const std::function<Status(const OrderedJson&, int64_t)>& take) {
  ASSIGN_OR_RETURN(const auto source, RowSource::open(file, options.columns));
  const size_t rows_max = options.rows_max;
  size_t rows = 0;
  for (RawRow raw; rows < rows_max; ++rows) {
    ASSIGN_OR_RETURN(const bool more, source->next(raw));
    if (!more) break;
    const std::string where = file.string() + ":" + std::to_string(raw.line);
    const auto row = parse_row(raw, source->columns());
    if (!row.ok()) return row.status().with_context(where);
    if (!row->is_object()) return invalid_argument(where + ": a row is an object");
    RETURN_IF_ERROR(take(*row, raw.line).with_context(where));
  }
  return rows > 0 || rows_max == 0 ? ok_status() : invalid_argument("\"" + file.string() + "\" holds no rows");
}

}  // namespace umbel::data
