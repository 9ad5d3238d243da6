// What golden tests share: where the project and the real inputs are, and how close two rows of logits are.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <span>

#include "io/file.h"
#include "io/json.h"

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

// max |actual - expected| over max |expected|.
inline double relative_difference(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return HUGE_VAL;
  double difference = 0;
  double scale = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(actual[i] - expected[i]) <= difference)) difference = std::abs(actual[i] - expected[i]);
    scale = std::max(scale, static_cast<double>(std::abs(expected[i])));
  }
  return scale == 0 ? difference : difference / scale;
}

inline std::vector<float> floats(const Json& json) { return json.get<std::vector<float>>(); }
inline std::vector<int32_t> ints(const Json& json) { return json.get<std::vector<int32_t>>(); }

}  // namespace umbel::testing
