#include "eval/scorers/squad.h"

#include <algorithm>
#include <map>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

// Words of letters, digits and underscores that are articles become a blank.
std::string without_articles(const std::string& text) {
  const Characters all(text);
  std::string out;
  for (size_t begin = 0; begin < all.points.size();) {
    size_t end = begin;
    while (end < all.points.size() && is_word(all.points[end])) ++end;
    const std::string_view word = all.slice(begin, end);
    if (end == begin) {
      out += all.slice(begin, ++end);
    } else {
      out += word == "a" || word == "an" || word == "the" ? std::string_view(" ") : word;
    }
    begin = end;
  }
  return out;
}

}  // namespace

std::string squad_normal_form(const std::string& text) {
  std::string plain;
  for (const char c : lower_case(text)) {
    if (kPunctuation.find(c) == std::string_view::npos) plain += c;
  }
  plain = without_articles(plain);
  std::string out;
  for (const std::string_view word : split_blanks(plain)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

double squad_exact_match(const std::string& prediction, const std::string& reference) {
  return squad_normal_form(prediction) == squad_normal_form(reference) ? 1 : 0;
}

double squad_token_f1(const std::string& prediction, const std::string& reference) {
  const std::string predicted = squad_normal_form(prediction), wanted = squad_normal_form(reference);
  const auto predicted_words = split_blanks(predicted), wanted_words = split_blanks(wanted);
  if (predicted_words.empty() || wanted_words.empty()) return predicted_words.empty() && wanted_words.empty() ? 1 : 0;
  std::map<std::string_view, int64_t> left;
  for (const auto word : wanted_words) ++left[word];
  int64_t common = 0;
  for (const auto word : predicted_words) {
    const auto found = left.find(word);
    if (found != left.end() && found->second-- > 0) ++common;
  }
  if (common == 0) return 0;
  return 2.0 * static_cast<double>(common) / static_cast<double>(predicted_words.size() + wanted_words.size());
}

}  // namespace umbel::eval
