// ROUGE-N and ROUGE-L (Lin 2004) as rouge_score and torchmetrics compute them without a stemmer: lower case, everything but a-z and 0-9
// parts words, F = 2PR/(P+R).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace umbel::eval {

struct Overlap {
  double precision = 0, recall = 0, f = 0;
};

std::vector<std::string> rouge_words(std::string_view text);

// n-grams in common; n from 1.
Overlap rouge_n(const std::vector<std::string>& prediction, const std::vector<std::string>& reference, size_t n);
// Longest common subsequence. Of each text the first kRougeWordsMax words count: time grows with the product of both, 64 words a step.
inline constexpr size_t kRougeWordsMax = 200'000;
Overlap rouge_l(const std::vector<std::string>& prediction, const std::vector<std::string>& reference);

// The F of ROUGE-L.
double rouge_l_f(const std::string& prediction, const std::string& reference);
double rouge_1_f(const std::string& prediction, const std::string& reference);
double rouge_2_f(const std::string& prediction, const std::string& reference);

// Length of the longest common subsequence (bit-parallel: Hyyro 2004).
int64_t longest_common_subsequence(const std::vector<int32_t>& a, const std::vector<int32_t>& b);

}  // namespace umbel::eval
