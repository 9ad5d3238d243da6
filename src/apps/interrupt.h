// Interrupt: SIGINT, SIGTERM and SIGHUP for a verb that wants to finish what it is at. The first one sets a flag, a second SIGINT or
// SIGTERM ends the process at once (status 130); before arm() so does the first. A hangup comes in twos where a terminal goes away, so
// a second one changes nothing, and one that is ignored (nohup) stays so.
//
// Make it before any other thread: it blocks the signals for the threads that come after, and waits for them on one of its own.
#pragma once

#include <signal.h>

#include <atomic>
#include <thread>

#include "base/clock.h"

namespace umbel::apps {

class Interrupt {
 public:
  // message: said on stderr at the first signal; "" = the verb says it itself.
  explicit Interrupt(const char* message);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  void arm() { armed_ = true; }
  bool requested() const { return requested_; }
  // Waits for the first signal. REQUIRES arm().
  void wait_requested() const { requested_.wait(false); }
  // The process is ended (status 2, with a line on stderr) when this object still lives after so long: for a read from a disk or a
  // server that never answers, which no flag reaches.
  void end_within(Duration limit);

 private:
  void wait();
  const sigset_t signals_;
  const char* message_;
  std::atomic<bool> armed_{false}, requested_{false}, ending_{false};
  std::atomic<int64_t> end_ns_{INT64_MAX};  // on the monotonic clock
  std::thread waiter_;
};

}  // namespace umbel::apps
