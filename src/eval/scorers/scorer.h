// Scorer: what an answer is worth against its reference. A scorer is immutable and a pure function of its rows and options: no clock, no
// files, no network (the two that run what a model wrote, sql and pass_at_k, do so inside limits that their headers state). Any thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"

namespace umbel::eval {

struct ScoredRow {
  OrderedJson prediction;  // null: no answer
  OrderedJson reference;   // a list: several references, or a list of tags
  OrderedJson fields = OrderedJson::object();  // the whole row
  std::string place;       // "rows.jsonl:3"
};

struct Scores {
  std::vector<double> scores;  // one a row; finite
  double mean = 0;             // of scores; 0 without rows
  // What only the rows together have (corpus BLEU, macro-F1, a confusion table) and what needs saying (answers that could not be read).
  OrderedJson summary = OrderedJson::object();
};

class Scorer {
 public:
  virtual ~Scorer() = default;
  // kInvalidArgument, naming the row, for a reference that is of no use. An answer never fails: what can't be read is worth nothing.
  virtual Result<Scores> score(std::span<const ScoredRow> rows) const = 0;
};

// A scorer that looks at one row at a time. An absent answer (null) scores 0 and is counted as "unanswered".
class RowScorer : public Scorer {
 public:
  Result<Scores> score(std::span<const ScoredRow> rows) const override;

 protected:
  virtual Result<double> score_row(const ScoredRow& row) const = 0;
  virtual void summarise(std::span<const ScoredRow> /*rows*/, std::span<const double> /*scores*/, OrderedJson& /*summary*/) const {}
};

// The references as texts: those of a list, or the one. kInvalidArgument for none.
Result<std::vector<std::string>> references_of(const ScoredRow& row);

// A scorer made of a function of two texts; of several references the best counts.
using TextRule = double (*)(const std::string& prediction, const std::string& reference);
std::unique_ptr<Scorer> scorer_of(TextRule rule);
// The same where a reference can be of no use.
using CheckedRule = std::function<Result<double>(const std::string& prediction, const std::string& reference)>;
std::unique_ptr<Scorer> scorer_of(CheckedRule rule);

double mean_of(std::span<const double> values);

}  // namespace umbel::eval
