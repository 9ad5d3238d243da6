#include "data/dataset_statistics.h"

#include <algorithm>
#include <bit>
#include <string_view>
#include <unordered_set>

#include "data/turn_end.h"

namespace umbel::data {
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

void count_ends(const Example& example, const Tokenizer& tokenizer, std::span<const TokenId> ends, DatasetStatistics& statistics) {
  const size_t end = trained_end(example, tokenizer);
  if (end == 0) return;
  const TokenId last = example.tokens[end - 1];
  const bool known = std::find(ends.begin(), ends.end(), last) != ends.end();
  if (!known && tokenizer.is_special(last)) {
    ++statistics.other_ends[last];
  } else if (!known) {
    ++statistics.without_end;
    return;
  }
  if (std::count(example.trained.begin(), example.trained.begin() + static_cast<std::ptrdiff_t>(end), 1) == 1) ++statistics.only_end;
}

// "3 of 10 examples"
std::string share_of(int64_t count, int64_t all, const char* what) { return std::to_string(count) + " of " + std::to_string(all) + " " + what; }

}  // namespace

DatasetStatistics describe(const Dataset& data, const Tokenizer& tokenizer, std::span<const TokenId> ends) {
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
    if (!ends.empty()) count_ends(example, tokenizer, ends, statistics);
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

std::vector<std::string> warnings_of(const DatasetStatistics& statistics, const Dataset& data, const Tokenizer& tokenizer) {
  std::vector<std::string> warnings;
  if (statistics.without_end > 0 && !data.joined) {
    warnings.push_back(share_of(statistics.without_end, statistics.examples, "examples train no end token: nothing teaches them to stop") +
                       (statistics.cut > 0 ? " (cut rows lose theirs)" : ""));
  }
  for (const auto& [id, count] : statistics.other_ends) {
    warnings.push_back(share_of(count, statistics.examples, "examples end with ") + tokenizer.token(id).value_or(std::to_string(id)) +
                       ", which does not end the base's answers; the adapter's folder names it as an end token (generation_config.json)");
  }
  if (statistics.only_end > 0) warnings.push_back(share_of(statistics.only_end, statistics.examples, "examples have an empty answer: they train the end alone"));
  if (statistics.cut > 0) warnings.push_back(share_of(statistics.cut, statistics.rows, "rows are longer than the longest row allowed and lose their ends"));
  if (statistics.duplicates > 0) warnings.push_back(share_of(statistics.duplicates, statistics.examples, "examples stand there before, token for token"));
  if (!data.unread.empty()) {
    std::string names;
    size_t shown = 0;
    constexpr size_t kShown = 12;
    for (const auto& [name, rows] : data.unread) {
      if (shown++ == kShown) {
        names += ", ...";
        break;
      }
      names += (names.empty() ? "" : ", ") + name;
    }
    warnings.push_back("fields that are not read: " + names);
  }
  return warnings;
}

}  // namespace umbel::data
