// sql: 1 where the answer's query gives the rows that the reference's query gives, on an SQLite database in memory that each row's `setup` script
// makes (or the option `setup` for all rows).
//
// The same rows as a set with repetitions; in the same order where the reference has ORDER BY outside of brackets. Column names do not matter, their
// number and order do; 1 and 1.0 are equal, texts exactly.
//
// An answer is one SELECT: SQLite itself refuses what writes, attaches files, sets pragmas or loads code (an authorizer that allows reading alone),
// and stops what needs more than the limits below. Such an answer is worth 0. A code fence around it is taken off.
#pragma once

#include <memory>

#include "eval/scorers/options.h"
#include "eval/scorers/scorer.h"

namespace umbel::eval {

inline constexpr int64_t kSqlStepsMax = 20'000'000;       // of SQLite's machine, per query
inline constexpr size_t kSqlRowsMax = 100'000;            // of a result
inline constexpr size_t kSqlResultBytesMax = 64 << 20;
inline constexpr int kSqlValueBytesMax = 1 << 20;         // also of a query
inline constexpr int64_t kSqlHeapBytesMax = 256 << 20;    // of all of SQLite's in this process

std::unique_ptr<Scorer> sql_scorer(Options& options);

}  // namespace umbel::eval
