#include "serve/bell.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <new>

namespace umbel::serve {

namespace asio = boost::asio;

namespace {
constexpr Duration kLookInterval = std::chrono::seconds(2);
}

void Bell::ring() {
  std::lock_guard lock(mutex_);
  if (!timer_ || rung_) return;
  rung_ = true;
  try {
    asio::post(timer_->get_executor(), [self = shared_from_this()] {
      if (self->timer_) self->timer_->cancel();
    });
  } catch (const std::bad_alloc&) {  // the waiter finds it rung when its time is over; see wait()
  }
}

void Bell::close() {
  std::lock_guard lock(mutex_);
  timer_.reset();
}

asio::awaitable<bool> Bell::wait(Duration timeout) {
  const auto take = [this] {
    std::lock_guard lock(mutex_);
    return std::exchange(rung_, false);
  };
  const TimePoint end = RealClock().now() + timeout;
  for (;;) {
    if (take()) co_return true;
    // A ring from here on posts to this very executor, so its cancel() runs after the wait has begun. One that found no
    // memory to post is seen at the next look.
    const Duration rest = end - RealClock().now();
    if (rest <= Duration{}) co_return false;
    timer_->expires_after(std::min(rest, kLookInterval));
    const auto [error] = co_await timer_->async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return take();  // cancelled: rung, or another ring of before
  }
}

}  // namespace umbel::serve
