#include "eval/scorers/numbers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

// A number that begins at `at`: digits, by thousands where commas stand, a fraction, an exponent; 0 bytes where there is none.
size_t number_length(std::string_view text, size_t at) {
  size_t end = at;
  const auto digits = [&](size_t from) {
    size_t count = 0;
    while (from + count < text.size() && digit(text[from + count])) ++count;
    return count;
  };
  const size_t whole = digits(end);
  end += whole;
  if (whole >= 1 && whole <= 3) {
    while (end < text.size() && text[end] == ',' && digits(end + 1) == 3) end += 4;
  }
  if (end < text.size() && text[end] == '.' && digits(end + 1) > 0) end += 1 + digits(end + 1);
  if (end == at) return 0;
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    const size_t sign = end + 1 < text.size() && (text[end + 1] == '-' || text[end + 1] == '+') ? 1 : 0;
    const size_t exponent = digits(end + 1 + sign);
    if (exponent > 0) end += 1 + sign + exponent;
  }
  return end - at;
}

std::optional<double> value_of(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (c != ',') plain += c;
  }
  const auto value = python_float(plain);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<double> whole_number(std::string_view text) {
  text = strip_blanks(text);
  if (!text.empty() && text.front() == '$') text.remove_prefix(1);
  if (!text.empty() && text.back() == '%') text.remove_suffix(1);
  return value_of(text);
}

Result<double> reference_number(const ScoredRow& row, Take take) {
  const std::string text = python_str(row.reference.is_array() && !row.reference.empty() ? row.reference.front() : row.reference);
  const auto whole = whole_number(text);
  const auto number = whole ? whole : number_in(text, take);
  if (!number) return invalid_argument("field \"reference\" has no number");
  return *number;
}

Take take_of(Options& options) {
  const std::string take = options.choice("take", {"last", "first", "whole"});
  return take == "first" ? Take::kFirst : take == "whole" ? Take::kWhole : Take::kLast;
}

class Numeric final : public RowScorer {
 public:
  Numeric(Take take, double tolerance) : take_(take), tolerance_(tolerance) {}

 protected:
  Result<double> score_row(const ScoredRow& row) const override {
    ASSIGN_OR_RETURN(const double wanted, reference_number(row, take_));
    const auto answer = number_in(python_str(row.prediction), take_);
    return answer && std::fabs(*answer - wanted) <= tolerance_ ? 1.0 : 0.0;
  }

 private:
  Take take_;
  double tolerance_;
};

OrderedJson or_null(std::optional<double> value) { return value ? OrderedJson(*value) : OrderedJson(nullptr); }

class Errors final : public Scorer {
 public:
  Errors(Take take, std::vector<double> range) : take_(take), range_(std::move(range)) {}

  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    std::vector<double> wanted;
    for (const ScoredRow& row : rows) {
      const auto number = reference_number(row, take_);
      if (!number.ok()) return number.status().with_context(row.place);
      wanted.push_back(*number);
    }
    double low = 0, high = 0;
    if (!wanted.empty()) {
      const auto [least, most] = std::minmax_element(wanted.begin(), wanted.end());
      low = *least;
      high = *most;
    }
    if (range_.size() == 2) std::tie(low, high) = std::tie(range_[0], range_[1]);
    Scores scores;
    std::vector<double> read_answers, read_references;
    double squares = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto answer = rows[i].prediction.is_null() ? std::nullopt : number_in(python_str(rows[i].prediction), take_);
      scores.scores.push_back(answer ? std::fabs(*answer - wanted[i]) : std::max(std::fabs(low - wanted[i]), std::fabs(high - wanted[i])));
      squares += scores.scores.back() * scores.scores.back();
      if (!answer) continue;
      read_answers.push_back(answer.value_or(0));
      read_references.push_back(wanted[i]);
    }
    scores.mean = mean_of(scores.scores);
    scores.summary["mae"] = scores.mean;
    scores.summary["rmse"] = rows.empty() ? 0 : std::sqrt(squares / static_cast<double>(rows.size()));
    scores.summary["pearson"] = or_null(pearson(read_answers, read_references));
    scores.summary["spearman"] = or_null(spearman(read_answers, read_references));
    scores.summary["unreadable"] = rows.size() - read_answers.size();
    return scores;
  }

 private:
  Take take_;
  std::vector<double> range_;
};

// Ranks from 1; equals share their mean.
std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end + 1) / 2;
    begin = end;
  }
  return ranks;
}

}  // namespace

std::optional<double> number_in(const std::string& text, Take take) {
  if (take == Take::kWhole) return whole_number(text);
  std::optional<double> found;
  for (size_t at = 0; at < text.size();) {
    const size_t length = number_length(text, at);
    if (length == 0) {
      ++at;
      continue;
    }
    // A minus counts as a sign unless a letter, a digit or a bracket stands before it ("10-3").
    size_t begin = at;
    if (at > 0 && text[at - 1] == '$') --begin;
    const bool minus = begin > 0 && text[begin - 1] == '-' &&
                       (begin == 1 || (!is_word(static_cast<unsigned char>(text[begin - 2])) && text[begin - 2] != ')'));
    const auto value = value_of(std::string_view(text).substr(at, length));
    if (value) found = minus ? -*value : *value;
    if (found && take == Take::kFirst) return found;
    at += length;
  }
  return found;
}

std::optional<double> pearson(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2) return std::nullopt;
  const double a_mean = mean_of(a), b_mean = mean_of(b);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - a_mean) * (b[i] - b_mean);
    aa += (a[i] - a_mean) * (a[i] - a_mean);
    bb += (b[i] - b_mean) * (b[i] - b_mean);
  }
  if (aa == 0 || bb == 0) return std::nullopt;
  return std::clamp(ab / std::sqrt(aa * bb), -1.0, 1.0);
}

std::optional<double> spearman(std::span<const double> a, std::span<const double> b) { return pearson(ranks_of(a), ranks_of(b)); }

std::unique_ptr<Scorer> numeric_scorer(Options& options) {
  const double tolerance = options.number("tolerance", 0);
  return std::make_unique<Numeric>(take_of(options), tolerance);
}

std::unique_ptr<Scorer> error_scorer(Options& options) {
  std::vector<double> range;
  for (const std::string& end : options.texts("range", {})) range.push_back(python_float(end).value_or(NAN));
  if (!range.empty() && (range.size() != 2 || !(range[0] < range[1]))) {
    options.reject("range", "two numbers, the smaller first");
    range.clear();
  }
  return std::make_unique<Errors>(take_of(options), std::move(range));
}

}  // namespace umbel::eval
