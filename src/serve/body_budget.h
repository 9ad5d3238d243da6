// BodyBudget: one count of bytes for all request bodies that are in memory at once, and who waits for a part of it.
//
// Any thread. Small bodies (up to kSmallBytes) may use the whole budget, larger ones seven eighths of it: a few large
// uploads never keep ordinary requests out. Larger ones are served in the order in which they asked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "serve/bell.h"

namespace umbel::serve {

class BodyBudget {
 public:
  static constexpr size_t kSmallBytes = size_t{64} << 10;

  explicit BodyBudget(size_t bytes_total) : total_(bytes_total) {}

  // One body's part. Gives it back when destroyed. The budget outlives it; used by one coroutine at a time.
  class Share {
   public:
    explicit Share(BodyBudget& budget) : budget_(budget) {}
    ~Share() { release(); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Makes the share this large (it never shrinks). False: no room now; bell is rung when it is this one's turn to
    // try again, until it is granted or released.
    bool grow(size_t bytes, const std::shared_ptr<Bell>& bell);
    size_t bytes() const { return bytes_; }
    void release();

   private:
    BodyBudget& budget_;
    size_t bytes_ = 0;
    uint64_t turn_ = 0;  // 0 = not waiting
  };

  size_t bytes_used() const;

 private:
  bool fits(size_t bytes, size_t held) const;
  void ring_next();

  const size_t total_;
  mutable std::mutex mutex_;
  size_t used_ = 0;
  uint64_t last_turn_ = 0;
  std::map<uint64_t, std::shared_ptr<Bell>> waiting_;  // by turn
};

}  // namespace umbel::serve
