// The scorers of LoRA Land (arXiv 2405.00732), rule for rule as its authors published them, generous where they are: for figures that compare
// with theirs. Beside each stands an honest one elsewhere in this folder. Where the published rule raises (an index past dbpedia's classes,
// a value that is no finite number) the answer is worth 0.
//
// All are functions of two texts; values that are no texts are what Python's str() makes of them.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace umbel::eval {

// Equal without dots at the ends and in lower case; or the float that the answer is, printed, equals the trimmed reference.
double published_accuracy(const std::string& prediction, const std::string& reference);
// Both as yes or no: the first that is contained of 1, 0, yes, no, true, false, positive, negative.
double published_binary_accuracy(const std::string& prediction, const std::string& reference);
// accuracy, or a digit (of 12, 012, 0123) that both contain.
double published_mrpc_accuracy(const std::string& prediction, const std::string& reference);
double published_mnli_accuracy(const std::string& prediction, const std::string& reference);
double published_hellaswag_accuracy(const std::string& prediction, const std::string& reference);
// accuracy, or the first numbers are the same text (two texts without numbers are the same, too).
double published_mmlu_accuracy(const std::string& prediction, const std::string& reference);
// accuracy, or the answer contains the reference, whatever the case.
double published_customer_support_accuracy(const std::string& prediction, const std::string& reference);
// The last numbers are equal.
double published_gsm8k_regex(const std::string& prediction, const std::string& reference);
// 1 - |difference| / 5; may be negative. kInvalidArgument for a reference without a number.
Result<double> published_stsb(const std::string& prediction, const std::string& reference);

// An index becomes the name of its class (from the end if negative, as in Python), then ROUGE-L.
class PublishedDbpedia {
 public:
  explicit PublishedDbpedia(std::vector<std::string> classes) : classes_(std::move(classes)) {}
  Result<double> operator()(const std::string& prediction, const std::string& reference) const;

 private:
  std::vector<std::string> classes_;
};
// The fourteen of DBpedia 14 in the order of their indices.
std::vector<std::string> dbpedia_classes();

}  // namespace umbel::eval
