#include "eval/scorers/translation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr size_t kBleuOrder = 4;
constexpr int kChrfOrder = 6;
constexpr double kBetaSquared = 4;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    out.append(text, at, found - at);
    out += to;
  }
  return out.append(text, at);
}

bool digit(char c) { return c >= '0' && c <= '9'; }
// What 13a always parts: ASCII punctuation but ' , - and .
bool parts(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

// Replaces every pair for which `matches` says so, left to right and without overlap, as re.sub does.
template <typename Matches, typename Write>
std::string sub_pairs(const std::string& text, Matches matches, Write write) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 1 < text.size() && matches(text[i], text[i + 1])) {
      write(out, text[i], text[i + 1]);
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

using Counts = std::unordered_map<std::string, int64_t>;

Counts word_grams(const std::vector<std::string_view>& words, size_t n) {
  Counts counts;
  for (size_t i = 0; i + n <= words.size(); ++i) {
    std::string gram(words[i]);
    for (size_t k = 1; k < n; ++k) gram.append(" ").append(words[i + k]);
    ++counts[gram];
  }
  return counts;
}

// --- BLEU ---

struct BleuCounts {
  std::array<int64_t, kBleuOrder> correct{}, total{};
  int64_t predicted = 0, wanted = 0;  // lengths

  void add(const BleuCounts& other) {
    for (size_t n = 0; n < kBleuOrder; ++n) {
      correct[n] += other.correct[n];
      total[n] += other.total[n];
    }
    predicted += other.predicted;
    wanted += other.wanted;
  }
};

BleuCounts bleu_counts(const std::string& prediction, const std::vector<std::string>& references) {
  const std::string text = tokenize_13a(strip_blanks_right(prediction));
  const auto words = split_blanks(text);
  BleuCounts counts;
  counts.predicted = static_cast<int64_t>(words.size());
  std::array<Counts, kBleuOrder> most;  // of each n-gram, over the references
  int64_t nearest = -1;
  for (const std::string& reference : references) {
    const std::string wanted = tokenize_13a(strip_blanks_right(reference));
    const auto wanted_words = split_blanks(wanted);
    const auto length = static_cast<int64_t>(wanted_words.size());
    const int64_t distance = std::abs(counts.predicted - length);
    if (nearest < 0 || distance < nearest || (distance == nearest && length < counts.wanted)) {
      nearest = distance;
      counts.wanted = length;
    }
    for (size_t n = 0; n < kBleuOrder; ++n) {
      for (const auto& [gram, count] : word_grams(wanted_words, n + 1)) most[n][gram] = std::max(most[n][gram], count);
    }
  }
  for (size_t n = 0; n < kBleuOrder; ++n) {
    for (const auto& [gram, count] : word_grams(words, n + 1)) {
      counts.total[n] += count;
      const auto found = most[n].find(gram);
      if (found != most[n].end()) counts.correct[n] += std::min(count, found->second);
    }
  }
  return counts;
}

enum class Order : uint8_t { kFull, kEffective };

double bleu_of(const BleuCounts& counts, Order order) {
  if (std::all_of(counts.correct.begin(), counts.correct.end(), [](int64_t correct) { return correct == 0; })) return 0;
  double penalty = 1;
  if (counts.predicted < counts.wanted) penalty = std::exp(1 - static_cast<double>(counts.wanted) / static_cast<double>(counts.predicted));
  std::array<double, kBleuOrder> precisions{};
  double smoothing = 1;
  size_t effective = kBleuOrder;
  for (size_t n = 0; n < kBleuOrder && counts.total[n] > 0; ++n) {
    if (order == Order::kEffective) effective = n + 1;
    if (counts.correct[n] == 0) {
      smoothing *= 2;
      precisions[n] = 100.0 / (smoothing * static_cast<double>(counts.total[n]));
    } else {
      precisions[n] = 100.0 * static_cast<double>(counts.correct[n]) / static_cast<double>(counts.total[n]);
    }
  }
  double sum = 0;
  for (size_t n = 0; n < effective; ++n) {
    if (precisions[n] == 0) return 0;
    sum += std::log(precisions[n]);
  }
  return penalty * std::exp(sum / static_cast<double>(effective));
}

class Bleu final : public Scorer {
 public:
  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    Scores scores;
    BleuCounts all;
    for (const ScoredRow& row : rows) {
      const auto references = references_of(row);
      if (!references.ok()) return references.status().with_context(row.place);
      const auto counts = bleu_counts(row.prediction.is_null() ? "" : python_str(row.prediction), *references);
      all.add(counts);
      scores.scores.push_back(bleu_of(counts, Order::kEffective));
    }
    scores.mean = mean_of(scores.scores);
    scores.summary["corpus"] = bleu_of(all, Order::kFull);
    return scores;
  }
};

// --- chrF ---

struct GramCounts {
  int64_t predicted = 0, wanted = 0, common = 0;
};
using ChrfCounts = std::vector<GramCounts>;

std::unordered_map<std::u32string_view, int64_t> character_grams(const std::u32string& text, size_t n) {
  std::unordered_map<std::u32string_view, int64_t> counts;
  for (size_t i = 0; i + n <= text.size(); ++i) ++counts[std::u32string_view(text).substr(i, n)];
  return counts;
}

std::u32string without_blanks(const std::string& text) {
  std::u32string out;
  for (const char32_t c : code_points(text)) {
    if (!is_blank(c)) out += c;
  }
  return out;
}

// Words with one sign of punctuation at their end, else at their beginning, parted from them.
std::vector<std::string_view> chrf_words(const std::string& text) {
  constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  std::vector<std::string_view> words;
  for (const std::string_view word : split_blanks(text)) {
    const bool one = code_points(word).size() == 1;
    if (!one && kPunctuation.find(word.back()) != std::string_view::npos) {
      words.insert(words.end(), {word.substr(0, word.size() - 1), word.substr(word.size() - 1)});
    } else if (!one && kPunctuation.find(word.front()) != std::string_view::npos) {
      words.insert(words.end(), {word.substr(0, 1), word.substr(1)});
    } else {
      words.push_back(word);
    }
  }
  return words;
}

template <typename Map>
GramCounts compare(const Map& predicted, const Map& wanted) {
  GramCounts counts;
  for (const auto& [gram, count] : predicted) {
    counts.predicted += count;
    const auto found = wanted.find(gram);
    if (found != wanted.end()) counts.common += std::min(count, found->second);
  }
  for (const auto& [gram, count] : wanted) counts.wanted += count;
  if (wanted.empty()) counts.predicted = 0;
  return counts;
}

double chrf_of(const ChrfCounts& counts) {
  double precision = 0, recall = 0;
  int orders = 0;
  for (const GramCounts& order : counts) {
    if (order.predicted == 0 || order.wanted == 0) continue;
    precision += static_cast<double>(order.common) / static_cast<double>(order.predicted);
    recall += static_cast<double>(order.common) / static_cast<double>(order.wanted);
    ++orders;
  }
  if (orders == 0 || precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  return 100 * (1 + kBetaSquared) * precision * recall / (kBetaSquared * precision + recall);
}

class Chrf final : public Scorer {
 public:
  explicit Chrf(int words) : words_(words) {}

  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    Scores scores;
    ChrfCounts all(static_cast<size_t>(kChrfOrder + words_));
    for (const ScoredRow& row : rows) {
      const auto references = references_of(row);
      if (!references.ok()) return references.status().with_context(row.place);
      const auto counts = best_counts(row.prediction.is_null() ? "" : python_str(row.prediction), *references);
      for (size_t i = 0; i < counts.size(); ++i) {
        all[i].predicted += counts[i].predicted;
        all[i].wanted += counts[i].wanted;
        all[i].common += counts[i].common;
      }
      scores.scores.push_back(chrf_of(counts));
    }
    scores.mean = mean_of(scores.scores);
    scores.summary["corpus"] = chrf_of(all);
    return scores;
  }

 private:
  // Against the reference with the best F, the first of equals.
  ChrfCounts best_counts(const std::string& prediction, const std::vector<std::string>& references) const {
    ChrfCounts best;
    double best_f = -1;
    for (const std::string& reference : references) {
      ChrfCounts counts;
      const std::u32string a = without_blanks(prediction), b = without_blanks(reference);
      for (size_t n = 1; n <= static_cast<size_t>(kChrfOrder); ++n) counts.push_back(compare(character_grams(a, n), character_grams(b, n)));
      const auto a_words = chrf_words(prediction), b_words = chrf_words(reference);
      for (size_t n = 1; n <= static_cast<size_t>(words_); ++n) counts.push_back(compare(word_grams(a_words, n), word_grams(b_words, n)));
      const double f = chrf_of(counts);
      if (f <= best_f) continue;
      best_f = f;
      best = std::move(counts);
    }
    return best;
  }

  int words_;
};

}  // namespace

std::string tokenize_13a(std::string_view text) {
  std::string line = replaced(std::string(text), "<skipped>", "");
  line = replaced(replaced(line, "-\n", ""), "\n", " ");
  line = replaced(replaced(line, "&quot;", "\""), "&amp;", "&");
  line = " " + replaced(replaced(line, "&lt;", "<"), "&gt;", ">") + " ";
  std::string spaced;
  for (const char c : line) {
    if (parts(c)) {
      spaced.append(" ").append(1, c).append(" ");
    } else {
      spaced += c;
    }
  }
  const auto is_stop = [](char c) { return c == '.' || c == ','; };
  spaced = sub_pairs(spaced, [&](char a, char b) { return !digit(a) && is_stop(b); },
                     [](std::string& out, char a, char b) { out.append(1, a).append(" ").append(1, b).append(" "); });
  spaced = sub_pairs(spaced, [&](char a, char b) { return is_stop(a) && !digit(b); },
                     [](std::string& out, char a, char b) { out.append(" ").append(1, a).append(" ").append(1, b); });
  spaced = sub_pairs(spaced, [](char a, char b) { return digit(a) && b == '-'; },
                     [](std::string& out, char a, char b) { out.append(1, a).append(" ").append(1, b).append(" "); });
  std::string out;
  for (const std::string_view word : split_blanks(spaced)) out.append(out.empty() ? "" : " ").append(word);
  return out;
}

std::unique_ptr<Scorer> bleu_scorer() { return std::make_unique<Bleu>(); }
std::unique_ptr<Scorer> chrf_scorer(int words) { return std::make_unique<Chrf>(words); }

}  // namespace umbel::eval
