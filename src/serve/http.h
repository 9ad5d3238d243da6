// The HTTP door: a listener with limits, one coroutine per connection (connection.h), and the Exchange that a route's
// handler is given.
//
// Any number of io threads; everything of one connection runs on one of them. Handlers may be suspended for long (a
// stream of tokens); a client that goes away meanwhile is noticed and rings the exchange's bell. A client that shuts
// down its sending side counts as gone.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>

#include "base/status.h"
#include "serve/bell.h"
#include "serve/gate.h"
#include "serve/http_message.h"
#include "serve/parts.h"

namespace umbel::serve {

// One request being answered: exactly one reply(), or begin_stream(), write()..., end_stream().
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  // As the gate knew it.
  virtual const Caller& caller() const = 0;
  // What the request took; handlers fill it in before they end.
  virtual RequestAccount& account() = 0;
  // Frees request().body and its part of the budget of all bodies; for handlers that have parsed it and go on for long.
  virtual void release_body() = 0;
  // The client has gone away: nothing sent can arrive.
  virtual bool gone() const = 0;
  // Rung when the client goes away; handlers also let the engine ring it.
  virtual const std::shared_ptr<Bell>& bell() const = 0;

  virtual boost::asio::awaitable<void> reply(HttpReply reply) = 0;
  // False when the client is gone.
  virtual boost::asio::awaitable<bool> begin_stream(HttpReply head) = 0;
  virtual boost::asio::awaitable<bool> write(std::string bytes) = 0;
  virtual boost::asio::awaitable<void> end_stream() = 0;
  // The status that went over the wire; 499 when the client left before its answer was whole; 0 = no answer yet.
  virtual int status() const = 0;
};

class HttpDoor {
 public:
  // Binds, listens and starts options.http_threads threads. kAlreadyExists when the port is taken, with the remedy.
  // The gate outlives the door.
  static Result<std::unique_ptr<HttpDoor>> open(const ServeOptions& options, Gate& gate);
  virtual ~HttpDoor() = default;  // close(0)

  virtual uint16_t port() const = 0;
  virtual int connections() const = 0;
  // Requests whose handlers run now.
  virtual int requests_running() const = 0;
  // From now on every answer closes its connection.
  virtual void stop_keep_alive() = 0;
  // Waits until no handler runs or the patience is over, then closes everything and joins the threads. Idempotent.
  virtual void close(Duration patience) = 0;
};

}  // namespace umbel::serve
