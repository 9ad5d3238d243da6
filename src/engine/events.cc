#include "engine/events.h"

#include "base/check.h"

namespace umbel {

std::optional<TokenEvent> Stream::pop_locked() {
  if (count_ == 0) return std::nullopt;
  std::optional<TokenEvent> event(std::move(ring_[head_]));
  head_ = (head_ + 1) % ring_.size();
  --count_;
  return event;
}

std::optional<TokenEvent> Stream::poll() {
  std::lock_guard lock(mutex_);
  return pop_locked();
}

std::optional<TokenEvent> Stream::next(Duration timeout) {
  std::unique_lock lock(mutex_);
  filled_.wait_for(lock, timeout, [this] { return count_ > 0 || finished_; });
  return pop_locked();
}

void Stream::set_bell(std::function<void()> bell) {
  auto shared = std::make_shared<const std::function<void()>>(std::move(bell));
  bool ring_now = false;
  {
    std::lock_guard lock(mutex_);
    bell_ = shared;
    ring_now = count_ > 0;
  }
  if (ring_now && *shared) (*shared)();
}

void Stream::push(TokenEvent event) {
  std::shared_ptr<const std::function<void()>> bell;
  {
    std::lock_guard lock(mutex_);
    CHECK(!finished_, "nothing comes after a stream's last event");
    finished_ = event.finish != FinishReason::kNone;
    if (count_ == ring_.size()) {
      std::vector<TokenEvent> wider(ring_.size() * 2);
      for (size_t index = 0; index < count_; ++index) wider[index] = std::move(ring_[(head_ + index) % ring_.size()]);
      ring_ = std::move(wider);
      head_ = 0;
    }
    ring_[(head_ + count_) % ring_.size()] = std::move(event);
    ++count_;
    bell = bell_;
  }
  filled_.notify_one();
  if (bell && *bell) (*bell)();
}

}  // namespace umbel
