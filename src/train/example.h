// Example: one row of a training set as ids, and which of them are trained.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace umbel {

struct Example {
  std::vector<TokenId> tokens;
  // trained[i] != 0: the loss counts the prediction of tokens[i] from what stands before it. trained[0] is 0.
  std::vector<uint8_t> trained;
  int64_t line = 0;  // in its file, from 1
};

// A row that can't be used, and why.
struct SkippedRow {
  int64_t line = 0;
  std::string reason;
};

}  // namespace umbel
