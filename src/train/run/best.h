// Which of two looks at held-out rows is the better one. Pure functions.
#pragma once

#include <cmath>

#include "train/job/run_spec.h"
#include "train/step/trainer.h"

namespace umbel::train {

// Lower is better: the loss, or the share of rows that are not right as a whole.
inline double score_of(const EvalReport& report, BestBy by) { return by == BestBy::kLoss ? report.loss : 1 - report.exact_rows; }

// What decides between equal scores, lower is better.
inline double tie_of(const EvalReport& report, BestBy by) { return by == BestBy::kLoss ? 0 : report.loss; }

// "held-out loss", "share of wrong rows": what score_of() gives.
inline const char* score_name(BestBy by) { return by == BestBy::kLoss ? "held-out loss" : "share of wrong rows"; }

// a is strictly better than b; what is not a number is never better. Of equal exact matches the smaller loss is.
inline bool is_better(const EvalReport& a, const EvalReport& b, BestBy by) {
  if (!std::isfinite(a.loss)) return false;
  if (!std::isfinite(b.loss) || score_of(a, by) == score_of(b, by)) return !std::isfinite(b.loss) || a.loss < b.loss;
  return score_of(a, by) < score_of(b, by);
}

}  // namespace umbel::train
