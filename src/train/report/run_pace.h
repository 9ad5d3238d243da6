// RunPace's arithmetic: how long a run takes, from how long its steps and looks have taken so far. Policy: values in, numbers out.
#pragma once

#include <cstdint>
#include <string>

namespace umbel::train {

// What is still to be computed, in tokens (rows): trained ones, and looked-at ones.
struct WorkLeft {
  double train_tokens = 0;
  double eval_tokens = 0;
};

class Pace {
 public:
  // One step of all jobs; the first one of a process is slower (memory is taken) and only counts until there is a second.
  void add_step(int64_t tokens, double seconds);
  void add_eval(int64_t tokens, double seconds);

  int64_t steps() const { return steps_; }
  double tokens_per_second() const;
  // Seconds for the work left; 0 without a step. A look's token costs a third of a trained one until a look was timed (a forward
  // pass, no backward).
  double left_seconds(const WorkLeft& left) const;

 private:
  int64_t steps_ = 0;
  double first_tokens_ = 0, first_seconds_ = 0;  // of the first step
  double train_tokens_ = 0, train_seconds_ = 0;  // of the others
  double eval_tokens_ = 0, eval_seconds_ = 0;
};

// "1m20s", "3h05m", "7s".
std::string format_seconds(double seconds);

}  // namespace umbel::train
