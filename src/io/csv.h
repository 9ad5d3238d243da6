// CsvReader: records of comma-separated values, RFC 4180: fields in double quotes may hold separators, line breaks and
// doubled quotes. Strict: what the RFC does not allow is a bad record with its reason, never a guess.
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
};

// One thread. Empty lines between records are passed over. Lines may end in "\r\n" or "\n"; inside quotes both are kept.
class CsvReader {
 public:
  CsvReader(LineReader lines, char separator) : lines_(std::move(lines)), separator_(separator) {}

  // False at the end. After a bad record reading goes on at the next line; a quote that is never closed takes the rest.
  Result<bool> next(CsvRecord& record);

 private:
  struct Cursor;
  Result<bool> quoted_field(Cursor& cursor, CsvRecord& record);
  bool plain_field(Cursor& cursor, CsvRecord& record) const;

  LineReader lines_;
  char separator_;
};

}  // namespace umbel
