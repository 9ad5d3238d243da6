#include "store/watcher.h"

#include <new>
#include <utility>

#include "base/memory_reserve.h"

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
  const MemoryPriority first;
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, pause, [this] { return stop_; })) {
    lock.unlock();
    try {
      pause = look_();
    } catch (const std::bad_alloc&) {  // the next look may find some memory
    }
    lock.lock();
  }
}

}  // namespace umbel
