// Places: how many connections there may be at once, whose they are, and who has to go when a new one comes.
//
// A connection that waits for its client (nothing sent yet, half a header, half a body, idle between two requests) gives
// its place to a new one when all are taken, the longest waiting first: a crowd of half-open connections shuts nobody
// out. One whose request is being answered keeps its place. Beyond the ordinary places a few spare ones are kept, in
// which only the routes that tell how the server is are answered.
//
// Any thread.
#pragma once

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "serve/gate.h"

namespace umbel::serve {

class Places {
 public:
  struct Limits {
    int ordinary_max = 1024;
    int spare_max = 16;
    int per_site_max = 0;  // ordinary places of one Peer::site that is not this machine; 0 = no such limit
  };
  explicit Places(const Limits& limits) : limits_(limits) {}

  // One connection's place, given back when destroyed. Places outlives it; begins as waiting.
  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    PlaceKind kind() const { return kind_; }
    // From here on the connection waits for its client.
    void wait();
    // From here on it doesn't. False: it had to give its place away and has to end.
    [[nodiscard]] bool work();

   private:
    friend class Places;
    Place(Places& places, PlaceKind kind, std::string site, std::function<void()> leave)
        : places_(places), kind_(kind), site_(std::move(site)), leave_(std::move(leave)) {}
    Places& places_;
    const PlaceKind kind_;
    const std::string site_;
    const std::function<void()> leave_;
    std::list<Place*>::iterator at_;
    enum class State : uint8_t { kWaiting, kWorking, kGone } state_ = State::kWorking;
  };

  // Null: every place is taken by a request being answered. leave is called, at most once and under the lock, when the
  // place goes to another: it may post, not block, throw or call back.
  std::unique_ptr<Place> take(const Peer& peer, std::function<void()> leave);
  // The longest waiting connection has to go; false when none waits.
  bool make_room();
  int taken() const;

 private:
  size_t index(PlaceKind kind) const { return static_cast<size_t>(kind); }
  bool evict_locked(PlaceKind kind);
  void leave_locked(Place& place);

  const Limits limits_;
  mutable std::mutex mutex_;
  std::array<std::list<Place*>, 2> waiting_;  // by kind, longest first
  std::array<int, 2> taken_{};                // by kind
  std::unordered_map<std::string, int> by_site_;
};

}  // namespace umbel::serve
