#include "data/table_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "io/csv.h"

namespace umbel::data {
namespace {

class TableRows final : public RowSource {
 public:
  // first: what was read already and is a row.
  TableRows(CsvReader reader, std::vector<std::string> columns, std::optional<CsvRecord> first)
      : reader_(std::move(reader)), columns_(std::move(columns)), first_(std::move(first)) {}

  Result<bool> next(RawRow& row) override {
    row = {};
    CsvRecord record;
    if (first_) {
      record = *std::move(first_);
      first_.reset();
    } else {
      ASSIGN_OR_RETURN(const bool more, reader_.next(record));
      if (!more) return false;
    }
    row.line = record.line;
    row.problem = std::move(record.problem);
    row.fields = std::move(record.fields);
    if (row.problem.empty() && row.fields.size() != columns_.size()) {
      row.problem = std::to_string(row.fields.size()) + " fields, but there are " + std::to_string(columns_.size()) + " columns";
    }
    return true;
  }
  const std::vector<std::string>& columns() const override { return columns_; }

 private:
  CsvReader reader_;
  std::vector<std::string> columns_;
  std::optional<CsvRecord> first_;
};

// What a file gives when it is read in one way.
struct Reading {
  int64_t rows = 0;          // as many fields as the first record has
  bool all_quoted = false;   // those of the first record
  bool needed_quotes = false;
  size_t columns = 0;
  bool clean = true;
};

Result<Reading> read_through(const Path& path, char separator, CsvQuotes quotes) {
  ASSIGN_OR_RETURN(LineReader lines, LineReader::open(path));
  CsvReader reader(std::move(lines), separator, quotes);
  Reading reading;
  bool first = true;
  for (CsvRecord record;;) {
    ASSIGN_OR_RETURN(const bool more, reader.next(record));
    if (!more) return reading;
    if (first) {
      reading.columns = record.fields.size();
      reading.all_quoted = record.quoted > 0 && record.quoted == record.fields.size();
    }
    first = false;
    const bool good = record.problem.empty() && record.fields.size() == reading.columns;
    reading.rows += good ? 1 : 0;
    reading.clean &= good;
    reading.needed_quotes |= record.needed_quotes && good;
  }
}

Result<CsvQuotes> quotes_of(const Path& path, char separator) {
  if (separator != '\t') return CsvQuotes::kRfc4180;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return CsvQuotes::kNone;
  ASSIGN_OR_RETURN(const Reading quoted, read_through(path, separator, CsvQuotes::kRfc4180));
  const bool sign_of_quotes = quoted.needed_quotes || quoted.all_quoted;
  if (!sign_of_quotes) return CsvQuotes::kNone;
  // In a table of one column any line is a row.
  if (quoted.columns == 1 && quoted.clean) return CsvQuotes::kRfc4180;
  ASSIGN_OR_RETURN(const Reading plain, read_through(path, separator, CsvQuotes::kNone));
  return quoted.rows >= plain.rows ? CsvQuotes::kRfc4180 : CsvQuotes::kNone;
}

constexpr const char* kHeaderless = "; a file without a header needs columns: the names of its columns";

Status check_names(const std::vector<std::string>& names, const std::string& where) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (!is_utf8(names[i])) return invalid_argument(where + "the header is not UTF-8");
    if (names[i].empty()) return invalid_argument(where + "column " + std::to_string(i + 1) + " has no name" + kHeaderless);
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) != names.begin() + static_cast<std::ptrdiff_t>(i)) {
      return invalid_argument(where + "the header names \"" + names[i] + "\" twice" + kHeaderless);
    }
  }
  return ok_status();
}

// A header of one column that another separator would cut into several.
Status check_separator(const std::vector<std::string>& header, char separator, const std::string& where) {
  if (header.size() != 1) return ok_status();
  for (const auto& [other, name] : {std::pair{'\t', "tabs"}, std::pair{';', "semicolons"}, std::pair{',', "commas"}}) {
    if (other == separator || header[0].find(other) == std::string::npos) continue;
    return invalid_argument(where + "the values stand between " + name + "; .csv files have commas, .tsv files tabs: rename or convert the file");
  }
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<RowSource>> open_table(const Path& path, char separator, const std::vector<std::string>& columns) {
  ASSIGN_OR_RETURN(const CsvQuotes quotes, quotes_of(path, separator));
  ASSIGN_OR_RETURN(LineReader lines, LineReader::open(path));
  CsvReader reader(std::move(lines), separator, quotes);
  CsvRecord first;
  ASSIGN_OR_RETURN(const bool any, reader.next(first));
  const std::string where = path.string() + ":" + std::to_string(std::max<int64_t>(1, first.line)) + ": ";
  if (!any) return invalid_argument("\"" + path.string() + "\" holds no rows: it has no header");
  if (!columns.empty()) {
    RETURN_IF_ERROR(check_names(columns, "columns: "));
    const bool header = first.fields == columns;
    return std::unique_ptr<RowSource>(
        std::make_unique<TableRows>(std::move(reader), columns, header ? std::nullopt : std::optional(std::move(first))));
  }
  if (!first.problem.empty()) return invalid_argument(where + first.problem);
  if (first.fields.size() > 1 && first.fields[0].empty()) first.fields[0] = "Unnamed: 0";
  RETURN_IF_ERROR(check_separator(first.fields, separator, where));
  RETURN_IF_ERROR(check_names(first.fields, where));
  return std::unique_ptr<RowSource>(std::make_unique<TableRows>(std::move(reader), std::move(first.fields), std::nullopt));
}

}  // namespace umbel::data
