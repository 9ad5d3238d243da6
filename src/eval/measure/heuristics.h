// The fourteen figures of a data set from which LoRA Land (arXiv 2405.00732, figure 8) predicts how well fine-tuning on it will go, and a few of
// our own beside them. All are plain statistics of a value per example: mean, population standard deviation, 95th percentile (linear between
// neighbours, as numpy's).
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace umbel::eval {

struct Spread {
  double p95 = 0, mean = 0, std = 0;
};
Spread spread_of(std::vector<double> values);

// Ordered figures with their names.
using Figures = std::vector<std::pair<std::string, double>>;

// Example by example; memory grows by a few numbers an example, and by one entry for each distinct answer. One thread.
class DataMeasure {
 public:
  struct Tokens {
    int64_t input = 0, output = 0, example = 0;  // of the prompt, the answer, and both as one text
  };
  void add(const std::string& prompt, const std::string& answer, const Tokens& tokens);

  int64_t rows() const { return static_cast<int64_t>(input_.size()); }
  // input_length_{p95,mean,std}, output_length_..., example_length_{mean,p95,std} (tokens); io_rougeL_{mean,std}: F of ROUGE-L of prompt and answer
  // of the same example; compressibility_{mean,std}: bytes of prompt and answer after gzip (level 9) by bytes before (empty examples left out);
  // train_examples.
  Figures heuristics() const;
  // distinct_answers, majority_answer (shares of rows), duplicates (share of rows that stood there before), unique_words (distinct words by all, of
  // ROUGE's words), answers_in_prompt (share of rows whose answer stands in the prompt as it is).
  Figures extras() const;

 private:
  std::vector<double> input_, output_, example_, similarity_, compressed_;
  std::map<std::string, int64_t, std::less<>> answers_, words_;
  std::map<std::pair<size_t, size_t>, int64_t> seen_;  // hashes of prompt and answer
  int64_t words_in_all_ = 0, duplicates_ = 0, copied_ = 0;
};

// gzip's size by the text's. REQUIRES a text that is not empty.
double compressed_share(std::string_view text);

}  // namespace umbel::eval
