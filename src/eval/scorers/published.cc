#include "eval/scorers/published.h"

#include <cmath>
#include <optional>

#include "eval/scorers/rouge.h"
#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::optional<bool> truth_of(const std::string& text) {
  if (has(text, "1")) return true;
  if (has(text, "0")) return false;
  const std::string lower = lower_case(text);
  constexpr struct {
    const char* word;
    bool truth;
  } kWords[] = {{"yes", true}, {"no", false}, {"true", true}, {"false", false}, {"positive", true}, {"negative", false}};
  for (const auto& [word, truth] : kWords) {
    if (has(lower, word)) return truth;
  }
  return std::nullopt;
}

// accuracy, or a digit of the list in both.
double digit_accuracy(const std::string& prediction, const std::string& reference, std::string_view digits) {
  if (published_accuracy(prediction, reference) == 1) return 1;
  for (const char digit : digits) {
    if (has(prediction, std::string_view(&digit, 1)) && has(reference, std::string_view(&digit, 1))) return 1;
  }
  return 0;
}

// The first match of \d{1,3}(?:,\d{3})*(?:\.\d+)?
std::optional<std::string> first_number(const std::string& text) {
  const Characters all(text);
  const std::u32string& points = all.points;
  const auto digits_at = [&](size_t at, size_t most) {
    size_t count = 0;
    while (count < most && at + count < points.size() && is_digit(points[at + count])) ++count;
    return count;
  };
  for (size_t begin = 0; begin < points.size(); ++begin) {
    size_t end = begin + digits_at(begin, 3);
    if (end == begin) continue;
    while (end < points.size() && points[end] == ',' && digits_at(end + 1, 3) == 3) end += 4;
    if (end < points.size() && points[end] == '.') {
      const size_t decimals = digits_at(end + 1, points.size());
      if (decimals > 0) end += 1 + decimals;
    }
    return std::string(all.slice(begin, end));
  }
  return std::nullopt;
}

// A number that is the whole text may be any; one inside a text must lie in 0..5.
std::optional<double> similarity_of(const std::string& text) {
  if (const auto whole = python_float(text)) return whole;
  const auto first = first_number(text);
  const auto value = first ? python_float(*first) : std::nullopt;
  if (!value || *value > 5 || *value < 0) return std::nullopt;
  return value;
}

// The last match of (-?[$0-9.,]{2,})|(-?[0-9]+)
std::optional<std::string> last_number(const std::string& text) {
  const auto is_money = [](char c) { return (c >= '0' && c <= '9') || c == '$' || c == '.' || c == ','; };
  const auto is_plain = [](char c) { return c >= '0' && c <= '9'; };
  std::optional<std::string> last;
  for (size_t at = 0; at < text.size();) {
    const size_t sign = text[at] == '-' ? 1 : 0;
    const auto run = [&](auto allowed) {
      size_t end = at + sign;
      while (end < text.size() && allowed(text[end])) ++end;
      return end;
    };
    size_t end = run(is_money);
    if (end - at - sign < 2) end = run(is_plain);
    if (end == at + sign) {
      ++at;
      continue;
    }
    last = text.substr(at, end - at);
    at = end;
  }
  return last;
}

std::optional<double> amount_of(const std::string& text) {
  const auto match = last_number(text);
  if (!match) return std::nullopt;
  std::string plain;
  for (const char c : strip_any(*match, "$.")) {
    if (c != ',') plain += c;
  }
  return python_float(plain);
}

}  // namespace

double published_accuracy(const std::string& prediction, const std::string& reference) {
  if (lower_case(strip_any(prediction, ".")) == lower_case(strip_any(reference, "."))) return 1;
  const auto number = python_float(prediction);
  return number && python_repr(*number) == strip_blanks(reference) ? 1 : 0;
}

double published_binary_accuracy(const std::string& prediction, const std::string& reference) {
  const auto answer = truth_of(prediction), truth = truth_of(reference);
  return answer && truth && *answer == *truth ? 1 : 0;
}

double published_mrpc_accuracy(const std::string& prediction, const std::string& reference) { return digit_accuracy(prediction, reference, "12"); }
double published_mnli_accuracy(const std::string& prediction, const std::string& reference) { return digit_accuracy(prediction, reference, "012"); }
double published_hellaswag_accuracy(const std::string& prediction, const std::string& reference) {
  return digit_accuracy(prediction, reference, "0123");
}

double published_mmlu_accuracy(const std::string& prediction, const std::string& reference) {
  if (published_accuracy(prediction, reference) == 1) return 1;
  return first_number(prediction) == first_number(reference) ? 1 : 0;
}

double published_customer_support_accuracy(const std::string& prediction, const std::string& reference) {
  if (published_accuracy(prediction, reference) == 1) return 1;
  return has(lower_case(prediction), lower_case(reference)) ? 1 : 0;
}

double published_gsm8k_regex(const std::string& prediction, const std::string& reference) {
  const auto answer = amount_of(prediction), wanted = amount_of(reference);
  return answer && wanted && *answer == *wanted ? 1 : 0;
}

Result<double> published_stsb(const std::string& prediction, const std::string& reference) {
  const auto wanted = similarity_of(reference);
  if (!wanted || !std::isfinite(*wanted)) return invalid_argument("field \"reference\" has no number from 0 to 5");
  const auto answer = similarity_of(prediction);
  if (!answer || !std::isfinite(*answer)) return 0.0;
  return 1 - std::fabs(*answer - *wanted) / 5;
}

Result<double> PublishedDbpedia::operator()(const std::string& prediction, const std::string& reference) const {
  const auto index = python_int(prediction);
  if (!index) return rouge_l_f(prediction, reference);
  const auto count = static_cast<int64_t>(classes_.size());
  const int64_t place = *index < 0 ? *index + count : *index;
  if (place < 0 || place >= count) return 0.0;
  return rouge_l_f(classes_[static_cast<size_t>(place)], reference);
}

std::vector<std::string> dbpedia_classes() {
  return {"Company",      "EducationalInstitution", "Artist", "Athlete", "OfficeHolder", "MeanOfTransportation", "Building",
          "NaturalPlace", "Village",                "Animal", "Plant",   "Album",        "Film",                 "WrittenWork"};
}

}  // namespace umbel::eval
