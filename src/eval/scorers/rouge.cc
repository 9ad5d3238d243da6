#include "eval/scorers/rouge.h"

#include <algorithm>
#include <bit>
#include <map>
#include <unordered_map>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

Overlap overlap_of(int64_t common, size_t predicted, size_t wanted) {
  Overlap overlap;
  if (predicted == 0 || wanted == 0) return overlap;
  overlap.precision = static_cast<double>(common) / static_cast<double>(predicted);
  overlap.recall = static_cast<double>(common) / static_cast<double>(wanted);
  const double sum = overlap.precision + overlap.recall;
  overlap.f = sum > 0 ? 2 * overlap.precision * overlap.recall / sum : 0;
  return overlap;
}

using Counts = std::map<std::string, int64_t>;

Counts grams_of(const std::vector<std::string>& words, size_t n) {
  Counts counts;
  for (size_t i = 0; i + n <= words.size(); ++i) {
    std::string gram;
    for (size_t k = 0; k < n; ++k) gram += words[i + k] + " ";
    ++counts[gram];
  }
  return counts;
}

}  // namespace

std::vector<std::string> rouge_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : lower_case(text) + " ") {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

Overlap rouge_n(const std::vector<std::string>& prediction, const std::vector<std::string>& reference, size_t n) {
  const Counts predicted = grams_of(prediction, n), wanted = grams_of(reference, n);
  int64_t common = 0;
  for (const auto& [gram, count] : predicted) {
    const auto found = wanted.find(gram);
    if (found != wanted.end()) common += std::min(count, found->second);
  }
  const auto grams = [n](size_t words) { return words < n ? 0 : words - n + 1; };
  return overlap_of(common, grams(prediction.size()), grams(reference.size()));
}

int64_t longest_common_subsequence(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  // Bit i of `row` is 0 where the row of the table grows at i: V' = (V + (V & M)) | (V & ~M), M = places of b's word in a.
  const size_t blocks = (a.size() + 63) / 64;
  std::unordered_map<int32_t, std::vector<std::pair<uint32_t, uint64_t>>> places;
  for (size_t i = 0; i < a.size(); ++i) {
    auto& list = places[a[i]];
    const auto block = static_cast<uint32_t>(i / 64);
    if (list.empty() || list.back().first != block) list.push_back({block, 0});
    list.back().second |= uint64_t{1} << (i % 64);
  }
  std::vector<uint64_t> row(blocks, ~uint64_t{0});
  for (const int32_t word : b) {
    const auto found = places.find(word);
    if (found == places.end()) continue;
    auto next = found->second.begin();
    uint64_t carry = 0;
    for (size_t block = next->first; block < blocks; ++block) {
      uint64_t match = 0;
      if (next != found->second.end() && next->first == block) match = (next++)->second;
      const uint64_t old = row[block], hit = old & match;
      const uint64_t sum = old + hit, full = sum + carry;
      carry = (sum < old || full < sum) ? 1 : 0;
      row[block] = full | (old & ~match);
      if (carry == 0 && next == found->second.end()) break;
    }
  }
  int64_t length = 0;
  for (size_t block = 0; block < blocks; ++block) {
    const size_t used = std::min<size_t>(64, a.size() - block * 64);
    const uint64_t mask = used == 64 ? ~uint64_t{0} : (uint64_t{1} << used) - 1;
    length += std::popcount(~row[block] & mask);
  }
  return length;
}

Overlap rouge_l(const std::vector<std::string>& prediction, const std::vector<std::string>& reference) {
  std::unordered_map<std::string_view, int32_t> ids;
  const auto ids_of = [&](const std::vector<std::string>& words) {
    std::vector<int32_t> list;
    for (size_t i = 0; i < std::min(words.size(), kRougeWordsMax); ++i) {
      list.push_back(ids.emplace(words[i], static_cast<int32_t>(ids.size())).first->second);
    }
    return list;
  };
  const auto a = ids_of(prediction), b = ids_of(reference);
  return overlap_of(longest_common_subsequence(a, b), a.size(), b.size());
}

double rouge_l_f(const std::string& prediction, const std::string& reference) { return rouge_l(rouge_words(prediction), rouge_words(reference)).f; }

double rouge_1_f(const std::string& prediction, const std::string& reference) {
  return rouge_n(rouge_words(prediction), rouge_words(reference), 1).f;
}

double rouge_2_f(const std::string& prediction, const std::string& reference) {
  return rouge_n(rouge_words(prediction), rouge_words(reference), 2).f;
}

}  // namespace umbel::eval
