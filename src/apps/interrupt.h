// Interrupt: SIGINT and SIGTERM for a verb that wants to finish what it is at. The first one sets a flag, the second one ends the
// process at once (status 130); before arm() so does the first.
//
// Make it before any other thread: it blocks both signals for the threads that come after, and waits for them on one of its own.
#pragma once

#include <atomic>
#include <thread>

namespace umbel::apps {

class Interrupt {
 public:
  // message: said on stderr at the first signal.
  explicit Interrupt(const char* message);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  void arm() { armed_ = true; }
  bool requested() const { return requested_; }

 private:
  void wait();
  const char* message_;
  std::atomic<bool> armed_{false}, requested_{false}, ending_{false};
  std::thread waiter_;
};

}  // namespace umbel::apps
