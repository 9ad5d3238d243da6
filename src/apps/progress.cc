#include "apps/progress.h"

#include <unistd.h>

#include <cstdio>

namespace umbel::apps {

Progress::Progress(std::string unit, size_t total)
    : unit_(std::move(unit)), total_(total), terminal_(isatty(STDERR_FILENO) == 1), begin_(clock_.now()) {}

Progress::~Progress() {
  if (!terminal_ || done_ == 0) return;
  draw(clock_.now());
  std::fputc('\n', stderr);
}

void Progress::step() {
  ++done_;
  const TimePoint now = clock_.now();
  if (terminal_ && now - drawn_ > from_seconds(0.2)) draw(now);
}

void Progress::draw(TimePoint now) {
  drawn_ = now;
  const double elapsed = to_seconds(now - begin_);
  const double speed = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  const double left = speed > 0 ? static_cast<double>(total_ - done_) / speed : 0;
  std::fprintf(stderr, "\r%zu/%zu %s  %.1f/s  ETA %.0f s   ", done_, total_, unit_.c_str(), speed, left);
  std::fflush(stderr);
}

}  // namespace umbel::apps
