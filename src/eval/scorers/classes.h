// Class accuracy: a row is right (1) when the answer is the reference, blanks around them left out. summary: accuracy, macro_f1, the confusion
// table, the share of the most frequent reference ("majority") and of the most frequent answer ("most_answered"): an adapter that always says
// the same is seen there.
//
// macro_f1 is the plain mean of the classes' F1 (0 where a class has neither right answers nor others), over `classes`, or, where they are not
// given, over all that stand in references and answers (scikit-learn's default).
// Options: classes (list; answers beyond them are "(other)" in the table and wrong), ignore_case (true), first_line (false: else only the answer's
// first line counts).
#pragma once

#include <memory>

#include "eval/scorers/options.h"
#include "eval/scorers/scorer.h"

namespace umbel::eval {

inline constexpr size_t kConfusionClassesMax = 256;  // with more, only the most frequent pairs are listed

std::unique_ptr<Scorer> class_scorer(Options& options);

}  // namespace umbel::eval
