// Connection: one client's socket from accept to close: requests read, shown to the gate, answered, one after another.
//
// Everything of it runs on one thread. It keeps itself alive while its coroutine runs.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "serve/body_budget.h"
#include "serve/gate.h"
#include "serve/http.h"
#include "serve/parts.h"
#include "serve/places.h"
#include "serve/tls.h"

namespace umbel::serve {

// What all connections of one door share. Outlives them.
struct DoorState {
  DoorState(const ServeOptions& options_in, Gate& gate_in)
      : options(options_in),
        gate(gate_in),
        bodies(options_in.body_bytes_total),
        places({.ordinary_max = options_in.connections_max,
                .spare_max = options_in.connections_spare,
                .per_site_max = options_in.connections_per_address.value_or(options_in.connections_max / 2)}) {}
  const ServeOptions options;
  Gate& gate;
  BodyBudget bodies;
  Places places;
  std::unique_ptr<TlsIdentity> tls;  // null = plain
  std::atomic<bool> keep_alive{true};
  std::atomic<int> connections{0};
  std::atomic<int> running{0};
  std::mutex mutex;  // of bells
  std::unordered_map<const void*, std::weak_ptr<Bell>> bells;
};

// Counts one up for as long as it lives.
class Counted {
 public:
  explicit Counted(std::atomic<int>& counter) : counter_(counter) { ++counter_; }
  ~Counted() { --counter_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int>& counter_;
};

// Starts a connection's coroutine on the socket's executor; where there is no place for it, closes it.
void start_connection(boost::asio::ip::tcp::socket socket, DoorState& door);

}  // namespace umbel::serve
