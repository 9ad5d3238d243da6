#include "serve/bell.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace umbel::serve {

namespace asio = boost::asio;

void Bell::ring() {
  std::lock_guard lock(mutex_);
  if (!timer_ || rung_) return;
  rung_ = true;
  asio::post(timer_->get_executor(), [self = shared_from_this()] {
    if (self->timer_) self->timer_->cancel();
  });
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
  if (take()) co_return true;
  // A ring from here on posts to this very executor, so its cancel() runs after the wait has begun.
  timer_->expires_after(timeout);
  co_await timer_->async_wait(asio::as_tuple(asio::use_awaitable));
  co_return take();
}

}  // namespace umbel::serve
