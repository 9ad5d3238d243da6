// What a data set looks like in numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "train/dataset.h"

namespace umbel {

struct DatasetStatistics {
  int64_t rows = 0;  // read: used and skipped
  int64_t examples = 0, skipped = 0, cut = 0;
  int64_t units = 0;  // of the batch: examples, or packs of them
  int64_t tokens = 0, trained_tokens = 0;
  int64_t shortest = 0, median = 0, p95 = 0, longest = 0;  // tokens of an example
  int64_t duplicates = 0;      // examples whose tokens stand in an earlier one
  int64_t without_end = 0;     // examples whose last trained token is not the end token: nothing teaches them to stop
  int64_t only_end = 0;        // examples that train the end token alone: an empty completion
  struct Bucket {
    int64_t from, to;  // tokens, both included
    int64_t examples;
  };
  std::vector<Bucket> lengths;  // by powers of two, from the shortest to the longest
};

// eos: the end token that was trained; -1 = none (without_end and only_end are 0 then).
DatasetStatistics describe(const Dataset& data, TokenId eos);

}  // namespace umbel
