// What one request of a load run looked like from the client's side.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"

namespace umbel::load {

// Times count from the start of the run.
struct Record {
  uint64_t number = 0;
  std::string model;
  bool ok = false;
  std::string error;             // !ok: status line or network error
  Duration sent{};
  Duration first_token{};        // arrival of the first non-empty piece; meaningless unless tokens > 0
  Duration end{};                // last byte
  std::vector<Duration> pieces;  // arrival of every non-empty piece
  std::string text;              // the whole answer
  std::vector<int32_t> token_ids;  // when asked for and the server gives them
  int64_t prompt_tokens = 0;
  int64_t tokens = 0;            // output tokens: the server's usage, else the number of pieces
};

}  // namespace umbel::load
