// Example: one row of a training set as ids, and which of them are trained.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace umbel::data {

struct Example {
  std::vector<TokenId> tokens;
  // trained[i] != 0: the loss counts the prediction of tokens[i] from what stands before it. trained[0] is 0.
  std::vector<uint8_t> trained;
  int64_t line = 0;  // in its file, from 1; of a window of joined texts: of the text that it begins in
  int32_t file = 0;  // index into Dataset::files
  // 0, or which one of its row's examples it is: a conversation may need several, one behind the other.
  int32_t part = 0;
};

// A row that can't be used, and why.
struct SkippedRow {
  int64_t line = 0;
  std::string reason;
  int32_t file = 0;
};

// A row that was longer than the limit and lost its end (a conversation: its last turns).
struct CutRow {
  int64_t line = 0;
  int64_t tokens = 0;  // that it had, as far as it was looked at
  int32_t file = 0;
};

}  // namespace umbel::data
