// pass_at_k: HumanEval's and MBPP's measure: of n programs that a model wrote for a problem, c passed its tests; the score is the unbiased estimate
// of the chance that one of k passes, 1 - C(n-c, k) / C(n, k) (Chen et al. 2021). Programs run in a sandbox (sandbox.h).
//
// prediction: a program's text, or a list of n of them. reference: a map with
//   "test" (defines check(candidate)), "entry_point", "prompt" (goes in front of the answer)   - HumanEval
//   "test_list" (lines of asserts), "test_setup_code", "prompt" ("")                            - MBPP
// or a text: tests to be run behind the program. The same fields beside prediction and reference count where the reference lacks them.
// Options: k (1; each problem needs at least k programs), wall_s (3), memory_mib (512), stop (list: an answer ends at the first of these; default
// for a reference with entry_point: "\nclass", "\ndef", "\n#", "\nif", "\nprint"), bwrap (where bubblewrap is).
// summary: samples, passed, out_of_time, and the most frequent reasons of failures.
#pragma once

#include <memory>

#include "eval/scorers/options.h"
#include "eval/scorers/scorer.h"

namespace umbel::eval {

std::unique_ptr<Scorer> pass_scorer(Options& options);

// REQUIRES 0 <= passed <= samples, 1 <= k <= samples.
double pass_at_k(int64_t samples, int64_t passed, int64_t k);

}  // namespace umbel::eval
