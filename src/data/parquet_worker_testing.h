// A test program that includes this serves as its own Parquet worker: ParquetRows starts /proc/self/exe.
#pragma once

#include <cstdlib>
#include <string>

#include "data/parquet_worker.h"
#include "text/template_worker_testing.h"

namespace umbel::testing {

// Runs before main(), and instead of it where the program was started as a worker.
inline const bool kIsNoParquetWorker = [] {
  const std::string line = command_line();
  const size_t first = line.find('\0');
  if (first != std::string::npos && line.substr(first + 1) == std::string(data::kParquetWorkerVerb) + '\0') {
    std::_Exit(data::run_parquet_worker());
  }
  return true;
}();

}  // namespace umbel::testing
