// What the text tests share: where the project, its goldens and the real inputs are.
#pragma once

#include <cstdlib>
#include <string>
#include <system_error>

#include "io/file.h"
#include "io/json.h"
#include "text/chat_template.h"

namespace umbel::testing {

inline Path source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

// The folder of real inputs, or an empty path: tests that need it are skipped then.
inline Path data_dir() {
  const char* given = std::getenv("UMBEL_DATA");
  const Path dir = given != nullptr ? Path(given) : source_dir() / "../shared/data";
  std::error_code ignored;
  return std::filesystem::is_directory(dir, ignored) ? dir : Path();
}

inline constexpr const char* kNoData = "no real inputs: set UMBEL_DATA to their folder";

inline Path goldens_dir() { return source_dir() / "tests/goldens/text"; }

// A golden file with its keys in order. A missing or broken one is a failed CHECK: it belongs to the project.
inline OrderedJson golden(const char* name) {
  return parse_ordered_json(read_file(goldens_dir() / name).value(), name).value();
}

inline std::string text_of(const OrderedJson& json) { return json.get<std::string>(); }

}  // namespace umbel::testing
