// A test program that includes this serves as its own template worker: TemplateWorkers starts /proc/self/exe.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "text/template_worker.h"

namespace umbel::testing {

inline std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// Runs before main(), and instead of it where the program was started as a worker.
inline const bool kIsNoTemplateWorker = [] {
  const std::string line = command_line();
  const size_t first = line.find('\0');
  if (first != std::string::npos && line.substr(first + 1) == std::string(kTemplateWorkerVerb) + '\0') {
    std::_Exit(run_template_worker());
  }
  return true;
}();

}  // namespace umbel::testing
