// What a data set looks like in numbers.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace umbel::data {

struct DatasetStatistics {
  int64_t rows = 0;  // read: used and skipped
  int64_t examples = 0, skipped = 0, cut = 0;
  int64_t units = 0;  // of the batch: examples, or packs of them
  int64_t tokens = 0, trained_tokens = 0;
  int64_t shortest = 0, median = 0, p95 = 0, longest = 0;  // tokens of an example
  int64_t duplicates = 0;      // examples whose tokens stand in an earlier one
  int64_t without_end = 0;     // examples whose trained text ends with no end token: nothing teaches them to stop
  int64_t only_end = 0;        // examples that train the end token alone: an empty completion
  // Special tokens that end examples and are none of the base's end tokens: a server that does not know of them goes on.
  std::map<TokenId, int64_t> other_ends;
  struct Bucket {
    int64_t from, to;  // tokens, both included
    int64_t examples;
  };
  std::vector<Bucket> lengths;  // by powers of two, from the shortest to the longest
};

// ends: the tokens that end the base's answers, the one that is trained first; empty = none (the counts of ends are 0 then).
DatasetStatistics describe(const Dataset& data, const Tokenizer& tokenizer, std::span<const TokenId> ends);

// What a person who trains on it should hear, a sentence each: rows without an end, with another end than the base's, empty
// answers, cut rows, doubled ones, fields that are not read.
std::vector<std::string> warnings_of(const DatasetStatistics& statistics, const Dataset& data, const Tokenizer& tokenizer);

}  // namespace umbel::data
