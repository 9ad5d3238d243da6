// Progress: a line on stderr with count, speed and ETA, redrawn in place on a terminal, silent elsewhere.
#pragma once

#include <cstddef>
#include <string>

#include "base/clock.h"

namespace umbel::apps {

class Progress {
 public:
  Progress(std::string unit, size_t total);
  ~Progress();  // ends the line
  void step();

 private:
  void draw(TimePoint now);
  std::string unit_;
  size_t total_;
  size_t done_ = 0;
  bool terminal_;
  RealClock clock_;
  TimePoint begin_;
  TimePoint drawn_;
};

}  // namespace umbel::apps
