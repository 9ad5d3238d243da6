// RunHistory: a run's curves, thinned to what a page can show, built from the lines of train_log.jsonl as they are written (or
// read again on resume).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "io/json.h"

namespace umbel::train {

// At most kPointsMax points of a rising step: when full, every second one goes and only every second is taken from then on.
class Curve {
 public:
  static constexpr size_t kPointsMax = 1000;
  void add(int64_t step, double value);
  // Always ends with the last one added.
  std::vector<std::pair<int64_t, double>> points() const;
  bool empty() const { return !any_; }

 private:
  std::vector<std::pair<int64_t, double>> kept_;
  std::pair<int64_t, double> last_;
  bool any_ = false;
  int64_t seen_ = 0, stride_ = 1;
};

struct JobHistory {
  std::string name;
  Curve loss, learning_rate, gradient_norm, eval_loss, exact_match;
  int64_t tokens = 0;  // rows computed
  double best_eval = 0;
  int64_t best_step = -1;  // -1: never looked at
};

class RunHistory {
 public:
  // One line of the log. Lines it doesn't know, or that have other types than ours, are passed over: the file may have been
  // edited.
  void take(const Json& line);
  // In the order of their first line.
  const std::vector<JobHistory>& jobs() const { return jobs_; }
  const JobHistory* find(const std::string& name) const;

 private:
  JobHistory& job(const std::string& name);
  std::vector<JobHistory> jobs_;
};

}  // namespace umbel::train
