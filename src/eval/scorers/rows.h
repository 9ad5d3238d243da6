// Rows that somebody else answered: {"prediction", "reference", ...}, JSON lines, a JSON list, CSV or TSV (plain, gzip or zstd) or Parquet.
#pragma once

#include <vector>

#include "eval/scorers/scorer.h"
#include "io/file.h"

namespace umbel::eval {

inline constexpr size_t kScoredRowsMax = 10'000'000;

// kInvalidArgument, naming file and line, for a row without the two fields or whose reference is null; null is an absent answer.
Result<std::vector<ScoredRow>> read_scored_rows(const Path& file);

}  // namespace umbel::eval
