#include "serve/body_budget.h"

namespace umbel::serve {

bool BodyBudget::fits(size_t bytes, size_t held) const {
  const size_t share_max = bytes <= kSmallBytes ? total_ : total_ - total_ / 8;
  return used_ - held + bytes <= share_max;
}

void BodyBudget::ring_next() {
  if (!waiting_.empty()) waiting_.begin()->second->ring();
}

bool BodyBudget::Share::grow(size_t bytes, const std::shared_ptr<Bell>& bell) {
  if (bytes <= bytes_) return true;
  std::lock_guard lock(budget_.mutex_);
  const auto first = budget_.waiting_.begin();
  const bool in_turn = bytes <= kSmallBytes || first == budget_.waiting_.end() || first->first == turn_;
  if (in_turn && budget_.fits(bytes, bytes_)) {
    budget_.used_ += bytes - bytes_;
    bytes_ = bytes;
    if (turn_ != 0) budget_.waiting_.erase(turn_);
    turn_ = 0;
    budget_.ring_next();
    return true;
  }
  if (turn_ == 0) {
    budget_.waiting_.emplace(budget_.last_turn_ + 1, bell);
    turn_ = ++budget_.last_turn_;
  }
  return false;
}

void BodyBudget::Share::release() {
  std::lock_guard lock(budget_.mutex_);
  budget_.used_ -= bytes_;
  bytes_ = 0;
  if (turn_ != 0) budget_.waiting_.erase(turn_);
  turn_ = 0;
  budget_.ring_next();
}

size_t BodyBudget::bytes_used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

}  // namespace umbel::serve
