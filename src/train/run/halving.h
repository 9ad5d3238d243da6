// Successive halving: which arms of a sweep stop at a look. Policy: values in, names out.
//
// Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace umbel::train {

// An arm as it stands.
struct SweepArm {
  size_t job = 0;
  int64_t step = 0, steps = 0;
  bool running = true;          // still taking steps
  bool failed = false;          // out of the contest
  bool lost = false;            // stopped by an earlier look
  double score = 0;             // lower is better: eval loss, else mean training loss; by exact match the share of rows that are wrong
  double tie = 0;               // lower is better, of equal scores
};

// The step at which an arm of `steps` steps comes to the look at this share of them: at least 1.
int64_t look_step(double share, int64_t steps);

// Whether every arm still in the contest has come to the look (or to its end).
bool look_due(const std::vector<SweepArm>& arms, double share);

// The jobs of the worse half (rounded down) of the arms in the contest, those that are still running. Of equal scores and ties the earlier
// job is the better one; a score that is not a number is the worst.
std::vector<size_t> losers(const std::vector<SweepArm>& arms);

// The best arm in the contest.
std::optional<size_t> winner(const std::vector<SweepArm>& arms);

}  // namespace umbel::train
