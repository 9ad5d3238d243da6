// Files of questions: rows as training reads them (row_source.h, row_format.h), asked instead of trained. Beside the format's own
// fields a row may name its "adapter", an "id" and a "seed".
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/row_format.h"
#include "io/file.h"

namespace umbel::data {

struct Question {
  RowQuestion row;
  std::string adapter;
  OrderedJson id = nullptr;     // as it stands in the row
  std::optional<int64_t> seed;  // not negative
  int64_t line = 0;
};

enum class Answers : uint8_t { kOptional, kNeeded };

struct QuestionOptions {
  std::string adapter;  // of rows that name none
  Answers answers = Answers::kOptional;
  size_t rows_max = SIZE_MAX;  // the first of them
  std::vector<std::string> columns;  // of a table without a header
  // What reads the rows of an adapter ("" = the base); alive until read_questions() is over.
  std::function<Result<const RowEncoder*>(const std::string& adapter)> encoder;
};

// Rows of text are for who scores (kNeeded); nobody can be asked without a prompt.
// Any row that can't be used is a failure that names file and line; so is a file without rows. Rows whose encoder has templates may
// also be plain {"prompt", "completion"}.
Result<std::vector<Question>> read_questions(const Path& file, const QuestionOptions& options);

// Rows of {"prompt", "completion"} alone, for who has no tokenizer.
struct PlainPair {
  std::string prompt;
  std::optional<std::string> completion;
};
Result<std::vector<PlainPair>> read_plain_pairs(const Path& file, size_t rows_max, Answers answers);

}  // namespace umbel::data
