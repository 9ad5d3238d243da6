// Gate: what is decided about a request when its header is complete and no byte of its body has been read: route, key,
// limits. The door (http.h) asks it once per request; the server (front_gate.h) answers.
//
// pass() runs on the connection's thread, for many connections at once: it does not block, wait or throw.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "serve/failure.h"
#include "serve/http_message.h"

namespace umbel::serve {

class Exchange;
struct ActiveKey;  // serve/keys/key_ring.h

// Answers one request; called once a whole request has been read. It must not throw; if it does, the client gets 500,
// or 503 where memory ran out.
using Handler = std::function<boost::asio::awaitable<void>(Exchange&)>;

// The other end of a connection.
struct Peer {
  std::string address;  // "127.0.0.1", "2001:db8::1"; no port
  enum class Reach : uint8_t { kLoopback, kNetwork };
  Reach reach = Reach::kNetwork;
  std::string site;  // what counts as one client: the address, or its first 64 bits for IPv6
};

// Places beyond --connections-max are kept for the routes that tell how the server is.
enum class PlaceKind : uint8_t { kOrdinary, kSpare };

// Who asks, for limits, logs and counters.
struct Caller {
  std::string key;      // the key's name; "" where the server has no keys or the route needs none
  uint32_t tenant = 0;  // numbers the key, or the address where there are none; 0 = this machine's
  std::string address;  // Peer::address
  std::shared_ptr<const ActiveKey> identity;  // what it may do (serve/keys/access.h); null = nothing
};

// What one request took, filled in by its handler, for the counters of keys and the audit log.
struct RequestAccount {
  std::string adapter;  // "" = the base, or none was asked for
  int64_t version = 0;
  std::string digest;
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
  std::vector<std::string> prompts;  // only where they shall stand in the audit log
};

// One request that has had its answer, or whose client left.
struct AnsweredRequest {
  const HttpRequest& request;  // without its body
  const Caller& caller;        // its address is known, its key only where the gate knew it
  const RequestAccount& account;
  int status = 0;  // over the wire; 499 = the client left
  Duration duration{};  // from the end of its header
};

struct RequestHead {
  const HttpRequest& request;  // the body is empty
  const Peer& peer;
  PlaceKind place = PlaceKind::kOrdinary;
  Caller& caller;  // filled in by the gate as far as it is known, also when the request is refused
};

struct Admission {
  size_t body_bytes_max = 0;  // of this route; past it: 413
  const Handler* handler = nullptr;  // outlives the door
  std::string route, path_parameter;  // see HttpRequest
};

class Gate {
 public:
  virtual ~Gate() = default;
  // An admission, or the whole answer: a refusal, or what needs no body (a preflight).
  virtual std::variant<Admission, HttpReply> pass(const RequestHead& head) = 0;
  // The dialect in which the door's own refusals (413, 431, ...) for this path are written.
  virtual Dialect dialect_of(std::string_view path) const = 0;
  // Headers that every answer to this request carries (CORS, what is left of the key's limits). request: as far as it could be read.
  virtual HttpHeaders answer_headers(const HttpRequest& request, const Caller& caller) const = 0;
  // Called once after the end of each answer, the door's own refusals too. Does not block or throw.
  virtual void answered(const AnsweredRequest& request) = 0;
};

}  // namespace umbel::serve
