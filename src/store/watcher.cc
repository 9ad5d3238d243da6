#include "store/watcher.h"

#include <utility>

namespace umbel {

Watcher::Watcher(Duration first_pause, std::function<Duration()> look) : look_(std::move(look)) {
  thread_ = std::thread([this, first_pause] { run(first_pause); });
}

Watcher::~Watcher() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void Watcher::run(Duration pause) {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, pause, [this] { return stop_; })) {
    lock.unlock();
    pause = look_();
    lock.lock();
  }
}

}  // namespace umbel
