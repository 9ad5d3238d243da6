// JSON field accuracy: the share of the reference's fields (values that are no maps or lists, by their path) that the answer has with the same
// value. Numbers are equal as numbers, all else exactly. An empty map or list is a field of its own. Answers that are no JSON are worth 0 and
// counted as "unreadable".
// Options: ignore_case (false), extract (false: the answer must be JSON alone; true: the first value in it that begins with { or [ counts).
// summary: exact (share of rows whose fields are all right, and no others there), invented (fields that the references do not have).
#pragma once

#include <memory>

#include "eval/scorers/options.h"
#include "eval/scorers/scorer.h"

namespace umbel::eval {

std::unique_ptr<Scorer> json_scorer(Options& options);

}  // namespace umbel::eval
