// Watcher: a thread that calls back again and again, after the pause that the callback asks for. It polls rather than
// listens, so that it also sees changes on network file systems.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"

namespace umbel {

class Watcher {
 public:
  // look() returns how long to pause before the next look. First look after first_pause. Joined by the destructor, which
  // waits for a look under way.
  Watcher(Duration first_pause, std::function<Duration()> look);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

 private:
  void run(Duration pause);

  const std::function<Duration()> look_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace umbel
