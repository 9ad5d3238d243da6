#include "train/dataset_statistics.h"

#include <algorithm>
#include <bit>
#include <string_view>
#include <unordered_set>

namespace umbel {
namespace {

std::string_view bytes_of(const Example& example) {
  return {reinterpret_cast<const char*>(example.tokens.data()), example.tokens.size() * sizeof(TokenId)};
}

// Buckets [2^k, 2^(k+1) - 1] that cover sorted lengths.
std::vector<DatasetStatistics::Bucket> buckets_of(const std::vector<int64_t>& lengths) {
  std::vector<DatasetStatistics::Bucket> buckets;
  for (const int64_t length : lengths) {
    const auto from = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, length))));
    while (buckets.empty() || buckets.back().from < from) {
      const int64_t next = buckets.empty() ? from : buckets.back().from * 2;
      buckets.push_back({next, next * 2 - 1, 0});
    }
    ++buckets.back().examples;
  }
  return buckets;
}

void count_ends(const Example& example, TokenId eos, DatasetStatistics& statistics) {
  const auto last = std::find(example.trained.rbegin(), example.trained.rend(), 1);
  if (last == example.trained.rend()) return;
  const auto index = static_cast<size_t>(example.trained.rend() - last) - 1;
  if (example.tokens[index] != eos) {
    ++statistics.without_end;
  } else if (std::count(example.trained.begin(), example.trained.end(), 1) == 1) {
    ++statistics.only_end;
  }
}

}  // namespace

DatasetStatistics describe(const Dataset& data, TokenId eos) {
  DatasetStatistics statistics{.rows = data.rows,
                               .examples = static_cast<int64_t>(data.examples.size()),
                               .skipped = static_cast<int64_t>(data.skipped.size()),
                               .cut = static_cast<int64_t>(data.cut.size()),
                               .units = static_cast<int64_t>(data.units()),
                               .trained_tokens = data.trained_tokens};
  std::vector<int64_t> lengths;
  std::unordered_set<std::string_view> seen;
  for (const Example& example : data.examples) {
    lengths.push_back(static_cast<int64_t>(example.tokens.size()));
    statistics.tokens += lengths.back();
    statistics.duplicates += seen.insert(bytes_of(example)).second ? 0 : 1;
    if (eos >= 0) count_ends(example, eos, statistics);
  }
  if (lengths.empty()) return statistics;
  std::sort(lengths.begin(), lengths.end());
  statistics.shortest = lengths.front();
  statistics.longest = lengths.back();
  statistics.median = lengths[(lengths.size() - 1) / 2];
  statistics.p95 = lengths[(lengths.size() - 1) * 95 / 100];
  statistics.lengths = buckets_of(lengths);
  return statistics;
}

}  // namespace umbel
