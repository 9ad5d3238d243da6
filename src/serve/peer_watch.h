// PeerWatch: notices a client that leaves, or floods, while its answer is made and nobody reads from it.
//
// Everything on the transport's thread. A client that has sent no more is noticed at once, else at the next look.
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "serve/transport.h"

namespace umbel::serve {

class PeerWatch {
 public:
  enum class Event : uint8_t {
    kFlood,  // more than a next request or two has come unasked, and is being thrown away: no request may follow this one
    kLeft,   // the last event
  };

  explicit PeerWatch(Transport& transport) : transport_(transport), timer_(transport.executor()) {}
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  // owner keeps this and the transport alive: nothing happens when it is gone.
  void start(std::weak_ptr<const void> owner, std::function<void(Event)> happened);
  void stop();

 private:
  void look();
  void look_later();

  Transport& transport_;
  boost::asio::steady_timer timer_;
  boost::asio::cancellation_signal stop_;
  std::weak_ptr<const void> owner_;
  std::function<void(Event)> happened_;
  bool watching_ = false;
};

}  // namespace umbel::serve
