// The helper process that reads one Parquet file, and the messages between it and ParquetRows.
//
// A Parquet file says itself how much memory its reader is to take, and the reader believes it; so it is read by a process of its
// own that has a limit and may die. It opens the file, confines itself, and then gives rows as they are asked for.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace umbel::data {

// Address space beyond what the process begins with: the pages of one row group that are unpacked at a time, with much to spare.
inline constexpr size_t kParquetMemoryBytes = size_t{1} << 30;
inline constexpr int kParquetCpuSecondsMax = 60;          // for one answer
inline constexpr size_t kParquetAnswerBytes = size_t{1} << 20;  // rows until there are so many

// The first message is the file's absolute name, every other one is empty and asks for rows. Answers: rows as lines of JSON (none at
// the end; none for the first message, either), or why not.
std::string encode_parquet_answer(const Result<std::string>& lines);
Result<std::string> decode_parquet_answer(std::string_view message);

// The verb of the program behind it ("umbel parquet-worker"); ParquetRows starts it by this name.
inline constexpr const char* kParquetWorkerVerb = "parquet-worker";
// Serves until the other side closes. The process's exit status.
int run_parquet_worker();

}  // namespace umbel::data
