#include "serve/peer_watch.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <utility>

#include "base/clock.h"

namespace umbel::serve {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kSentAheadMax = size_t{64} << 10, kDiscardMax = size_t{1} << 20;
constexpr Duration kLookInterval = std::chrono::milliseconds(250);  // while unread bytes hide the client's end

}  // namespace

void PeerWatch::start(std::weak_ptr<const void> owner, std::function<void(Event)> happened) {
  owner_ = std::move(owner);
  happened_ = std::move(happened);
  watching_ = true;
  transport_.socket().async_wait(
      tcp::socket::wait_read,
      asio::bind_cancellation_slot(stop_.slot(), asio::bind_executor(transport_.executor(), [this, owner = owner_](error_code error) {
                                     const auto alive = owner.lock();
                                     if (alive && error != asio::error::operation_aborted) look();
                                   })));
}

void PeerWatch::stop() {
  watching_ = false;
  stop_.emit(asio::cancellation_type::all);
  timer_.cancel();
}

void PeerWatch::look() {
  if (!watching_) return;
  // What is unread hides the client's end from the system itself: it is thrown away, bit by bit.
  if (transport_.unread_bytes() > kSentAheadMax) {
    happened_(Event::kFlood);
    transport_.discard(kDiscardMax);
  }
  if (!transport_.peer_left()) return look_later();
  happened_(Event::kLeft);
}

void PeerWatch::look_later() {
  timer_.expires_after(kLookInterval);
  timer_.async_wait([this, owner = owner_](error_code error) {
    const auto alive = owner.lock();
    if (alive && !error) look();
  });
}

}  // namespace umbel::serve
