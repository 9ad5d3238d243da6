// Results of an exam: every adapter on every task, with its interval, and what it is over the base on the same rows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/exam/records.h"
#include "eval/scorers/registry.h"
#include "eval/statistics/interval.h"
#include "eval/statistics/paired.h"
#include "eval/tasks/task.h"

namespace umbel::eval {

struct ExamTask {
  std::string name, digest;
  ScorerChoice scorer;
  std::optional<ScorerChoice> honest;
  int max_tokens = 64;
  std::vector<std::string> stop;
  AskKind ask = AskKind::kGenerate;
  std::string before_choice;
  std::vector<TaskRow> rows;

  std::string rows_digest() const;
};

struct ExamResult {
  std::string task, adapter, scorer;  // adapter "" = the base
  double score = 0;                   // mean of the rows
  Interval interval;
  OrderedJson summary;
  // Against the base; absent for the base itself, and where it was not asked.
  std::optional<double> base_score;
  PairedTest lift;
  double p_holm = 1;  // corrected for all pairs of the exam
  int64_t rows = 0, prompt_tokens = 0, answer_tokens = 0;
  int64_t cut = 0, empty = 0, at_limit = 0;  // rows: prompts cut, answers without a word (they score 0), answers that reached max_tokens
};

// From answers that are all there. Scores are put into the records (those of `scorer`, not of `honest`), and what is returned, for the report. kFailedPrecondition when a row has no answer.
Result<std::vector<ExamResult>> exam_results(Records& records, const std::vector<ExamTask>& tasks, const std::vector<std::string>& adapters, uint64_t seed);

OrderedJson result_json(const ExamResult& result);

}  // namespace umbel::eval
