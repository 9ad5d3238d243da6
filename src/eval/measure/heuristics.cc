#include "eval/measure/heuristics.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>

#include "base/check.h"
#include "eval/scorers/rouge.h"
#include "eval/scorers/scorer.h"
#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr int kLevel = 9;
constexpr int kGzip = 15 + 16;  // largest window, with gzip's head and tail

void add_spread(Figures& figures, const std::string& name, const Spread& spread) {
  figures.insert(figures.end(), {{name + "_p95", spread.p95}, {name + "_mean", spread.mean}, {name + "_std", spread.std}});
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  Spread spread;
  if (values.empty()) return spread;
  spread.mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.std = std::sqrt(squares / static_cast<double>(values.size()));
  std::sort(values.begin(), values.end());
  const double place = 0.95 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  spread.p95 = values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  return spread;
}

double compressed_share(std::string_view text) {
  z_stream stream{};
  CHECK(deflateInit2(&stream, kLevel, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib starts");
  // Pieces in, pieces out: only their number is of interest.
  std::array<Bytef, 1 << 14> out{};
  int state = Z_OK;
  for (std::string_view rest = text; state != Z_STREAM_END;) {
    const std::string_view piece = rest.substr(0, 1 << 20);
    rest.remove_prefix(piece.size());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = static_cast<uInt>(piece.size());
    do {
      stream.next_out = out.data();
      stream.avail_out = out.size();
      state = deflate(&stream, rest.empty() ? Z_FINISH : Z_NO_FLUSH);
    } while (stream.avail_out == 0 || (rest.empty() && state == Z_OK));
  }
  const double share = static_cast<double>(stream.total_out) / static_cast<double>(text.size());
  deflateEnd(&stream);
  return share;
}

void DataMeasure::add(const std::string& prompt, const std::string& answer, const Tokens& tokens) {
  input_.push_back(static_cast<double>(tokens.input));
  output_.push_back(static_cast<double>(tokens.output));
  example_.push_back(static_cast<double>(tokens.example));
  const auto prompt_words = rouge_words(prompt), answer_words = rouge_words(answer);
  similarity_.push_back(rouge_l(prompt_words, answer_words).f);
  if (!prompt.empty() || !answer.empty()) compressed_.push_back(compressed_share(prompt + answer));
  const std::string bare(strip_blanks(answer));
  ++answers_[bare];
  copied_ += !bare.empty() && prompt.find(bare) != std::string::npos ? 1 : 0;
  duplicates_ += seen_[{std::hash<std::string>()(prompt), std::hash<std::string>()(answer)}]++ > 0 ? 1 : 0;
  for (const auto* words : {&prompt_words, &answer_words}) {
    for (const std::string& word : *words) ++words_[word];
    words_in_all_ += static_cast<int64_t>(words->size());
  }
}

Figures DataMeasure::heuristics() const {
  Figures figures;
  add_spread(figures, "input_length", spread_of(input_));
  add_spread(figures, "output_length", spread_of(output_));
  const Spread example = spread_of(example_), similarity = spread_of(similarity_), compressed = spread_of(compressed_);
  figures.insert(figures.end(), {{"example_length_mean", example.mean}, {"example_length_p95", example.p95}, {"example_length_std", example.std},
                                 {"io_rougeL_mean", similarity.mean}, {"io_rougeL_std", similarity.std},
                                 {"compressibility_mean", compressed.mean}, {"compressibility_std", compressed.std},
                                 {"train_examples", static_cast<double>(rows())}});
  return figures;
}

Figures DataMeasure::extras() const {
  const auto share = [](auto part, auto all) { return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all); };
  int64_t most = 0;
  for (const auto& [answer, count] : answers_) most = std::max(most, count);
  return {{"distinct_answers", share(answers_.size(), rows())}, {"majority_answer", share(most, rows())}, {"duplicates", share(duplicates_, rows())},
          {"unique_words", share(words_.size(), words_in_all_)}, {"answers_in_prompt", share(copied_, rows())}};
}

}  // namespace umbel::eval
