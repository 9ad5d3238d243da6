// Bell: how another thread wakes a coroutine. The engine's thread rings; the connection's coroutine waits.
//
// ring(): any thread, does not block, many rings before a wait count as one. wait(): the coroutine on the executor that
// the bell was made with. close() ends all ringing and lets go of the executor; it is called on that executor, or when
// its threads have been joined, and before its io_context is destroyed (a ringing thread may hold the bell longer than
// that).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace umbel::serve {

class Bell : public std::enable_shared_from_this<Bell> {
 public:
  explicit Bell(boost::asio::any_io_executor executor) : timer_(std::in_place, executor) {}

  void ring();
  void close();
  // True when rung since the last wait; false after timeout.
  boost::asio::awaitable<bool> wait(Duration timeout);

 private:
  std::mutex mutex_;  // of rung_, and of timer_ being there
  bool rung_ = false;
  std::optional<boost::asio::steady_timer> timer_;  // empty = closed; waited on by its executor's threads only
};

}  // namespace umbel::serve
