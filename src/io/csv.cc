#include "io/csv.h"

#include <algorithm>

namespace umbel {

// The line being read, and where in it.
struct CsvReader::Cursor {
  std::string line;
  size_t at = 0;
  size_t bytes = 0;  // of the record's lines so far

  bool ended() const { return at == line.size() || (at + 1 == line.size() && line[at] == '\r'); }
};

// A plain field up to the separator; false = bad.
bool CsvReader::plain_field(Cursor& cursor, CsvRecord& record) const {
  size_t end = std::min(cursor.line.find(separator_, cursor.at), cursor.line.size());
  std::string field = cursor.line.substr(cursor.at, end - cursor.at);
  if (end == cursor.line.size() && field.ends_with('\r')) field.pop_back();
  cursor.at = end;
  if (quotes_ == CsvQuotes::kRfc4180 && field.find('"') != std::string::npos) {
    record.problem = "a quote inside a field that does not begin with one (write the field in quotes, and inside quotes \"\" for \")";
    return false;
  }
  record.fields.push_back(std::move(field));
  return true;
}

// Behind the opening quote, up to behind the closing one; false = bad.
Result<bool> CsvReader::quoted_field(Cursor& cursor, CsvRecord& record) {
  std::string field;
  ++cursor.at;
  while (true) {
    const size_t quote = std::min(cursor.line.find('"', cursor.at), cursor.line.size());
    field.append(cursor.line, cursor.at, quote - cursor.at);
    if (quote < cursor.line.size()) {
      cursor.at = quote + 1;
      if (cursor.at == cursor.line.size() || cursor.line[cursor.at] != '"') break;
      field += '"';
      ++cursor.at;
      continue;
    }
    field += '\n';
    cursor.at = 0;
    ASSIGN_OR_RETURN(const bool more, lines_.next(cursor.line));
    cursor.bytes += cursor.line.size() + 1;
    if (!more || cursor.bytes > kLineBytesMax) {
      record.problem = more ? "a record of more than " + std::to_string(kLineBytesMax) + " bytes (is a quote not closed?)"
                            : "a quote that begins here is never closed";
      return false;
    }
  }
  if (!cursor.ended() && cursor.line[cursor.at] != separator_) {
    record.problem = "text behind a closing quote (inside quotes write \"\" for \")";
    return false;
  }
  ++record.quoted;
  record.needed_quotes |= field.find_first_of(std::string("\"\n") + separator_) != std::string::npos;
  record.fields.push_back(std::move(field));
  return true;
}

Result<bool> CsvReader::next(CsvRecord& record) {
  record = {};
  Cursor cursor;
  do {
    ASSIGN_OR_RETURN(const bool more, lines_.next(cursor.line));
    if (!more) return false;
  } while (cursor.ended());
  record.line = lines_.line();
  cursor.bytes = cursor.line.size();
  while (true) {
    bool good = false;
    if (record.fields.size() == kCsvFieldsMax) {
      record.problem = "more than " + std::to_string(kCsvFieldsMax) + " fields";
      return true;
    }
    if (quotes_ == CsvQuotes::kRfc4180 && cursor.at < cursor.line.size() && cursor.line[cursor.at] == '"') {
      ASSIGN_OR_RETURN(good, quoted_field(cursor, record));
    } else {
      good = plain_field(cursor, record);
    }
    if (!good || cursor.ended()) return true;
    ++cursor.at;  // the separator
  }
}

}  // namespace umbel
