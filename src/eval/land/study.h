// Study: the scores of LoRA Land (arXiv 2405.00732, table 12: 10 bases x 31 tasks, before and after fine-tuning, GPT-3.5 and GPT-4 beside them),
// and every aggregate of them by name, so that what the paper quotes can be computed again.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"

namespace umbel::eval {

struct StudyTask {
  std::string name, type, metric;
  double tokens_p95 = 0, train = 0;  // of its examples, of its training rows
  double gpt_3_5 = 0, gpt_4 = 0;
  std::vector<double> base, fine_tuned;  // by model
};

struct Study {
  std::vector<std::string> models;
  std::vector<StudyTask> tasks;
};

// DIR/tasks.csv and DIR/scores.csv. Errors name file and line: a missing column, a score that is none, a pair that is absent or stands twice.
Result<Study> read_study(const Path& dir);

// By name:
//   count.{cells,improved,beats_gpt_4,beats_or_ties_gpt_4}
//   mean.{base,fine_tuned,lift,best_base,best_fine_tuned,gpt_3_5,gpt_4,best_fine_tuned_over_gpt_4,best_fine_tuned_over_best_base}
//   tasks.{gpt_4_ahead,gpt_4_tied,gpt_3_5_ahead,7b_no_worse_than_2b}
//   model.{base,fine_tuned,lift,best_on,best_alone_on,beats_gpt_4,beats_gpt_3_5,improved}/MODEL
//   type.{tasks,best_base,best_fine_tuned,gpt_3_5,gpt_4}/TYPE
//   correlation/A/B (Pearson over tasks), of {gpt_4,max_lift_over_gpt_4,mean_lift,best_base,mean_base,best_fine_tuned,mean_fine_tuned,tokens_p95,train}
// Equal means equal in the three digits that are printed. kNotFound for other names.
Result<double> study_statistic(const Study& study, const std::string& name);

// A figure that the paper prints, and what its own table gives for it.
struct QuotedFigure {
  std::string what, where, statistic;
  double quoted = 0, computed = 0, tolerance = 0;
  bool supported() const;
};
// DIR/quoted.csv, computed again.
Result<std::vector<QuotedFigure>> compare_with_quoted(const Study& study, const Path& dir);

}  // namespace umbel::eval
