// What a folder of adapters takes on one base: every adapter's memory, and the sum.
#pragma once

#include <string>
#include <vector>

#include "apps/base_model.h"

namespace umbel::apps {

struct AdapterSize {
  std::string name;
  std::string kind;
  int64_t rank_max = 0;
  int32_t row_cost = 0;
  size_t resident_bytes = 0;  // as the library counts it against --adapter-bytes
  size_t file_bytes = 0;
  std::string error;  // why it can't be served; the rest is 0 then
};

struct AdapterSum {
  std::vector<AdapterSize> adapters;  // by name
  size_t usable = 0;
  size_t resident_bytes = 0;
  size_t largest_bytes = 0;
};

// Builds one adapter after the other, so no more than one is in memory at a time. A broken one is in the list with its
// reason.
Result<AdapterSum> sum_adapters(const BaseModel& base, const Path& dir);

// Whether a sub-folder of dir is an adapter.
bool holds_adapters(const Path& dir);

}  // namespace umbel::apps
