// CsvReader: records of comma-separated values, RFC 4180: fields in double quotes may hold separators, line breaks and
// doubled quotes. Strict: what the RFC does not allow is a bad record with its reason, never a guess. Or without quotes at all: a line is a
// record, and a quote is a sign like any other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/byte_stream.h"

namespace umbel {

struct CsvRecord {
  std::vector<std::string> fields;
  int64_t line = 0;     // where it begins
  std::string problem;  // not empty: a bad record; fields then hold nothing of use
  size_t quoted = 0;    // fields that stand in quotes
  bool needed_quotes = false;  // one of them holds a separator, a line break or a quote
};

enum class CsvQuotes : uint8_t { kRfc4180, kNone };

inline constexpr size_t kCsvFieldsMax = 10'000;  // of a record; its bytes: kLineBytesMax. More is a bad record

// One thread. Empty lines between records are passed over. Lines may end in "\r\n" or "\n"; inside quotes both are kept.
class CsvReader {
 public:
  CsvReader(LineReader lines, char separator, CsvQuotes quotes = CsvQuotes::kRfc4180)
      : lines_(std::move(lines)), separator_(separator), quotes_(quotes) {}

  // False at the end. After a bad record reading goes on at the next line; a quote that is never closed takes the rest.
  Result<bool> next(CsvRecord& record);

 private:
  struct Cursor;
  Result<bool> quoted_field(Cursor& cursor, CsvRecord& record);
  bool plain_field(Cursor& cursor, CsvRecord& record) const;

  LineReader lines_;
  char separator_;
  CsvQuotes quotes_;
};

}  // namespace umbel
