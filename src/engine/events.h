// What comes back from the engine: TokenEvents in a Stream, one per request.
//
// The engine's thread writes, one reader reads. A Stream is bounded by the request's own max_tokens, so writing never
// blocks. The reader either waits (next()), or polls after being rung (set_bell()).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "engine/request.h"

namespace umbel {

enum class FinishReason : uint8_t { kNone, kLength, kEos, kStop, kCancelled, kError };

struct TokenLogprobs {
  int32_t token = 0;
  float logprob = 0.0f;
  int32_t rank = 0;                                   // 1 = the most likely
  std::vector<std::pair<int32_t, float>> top;         // best first
};

struct RequestTimes {
  Duration queued{};       // submission to first scheduled step
  Duration first_token{};  // submission to first token (TTFT)
  Duration total{};
};

// Exactly one event of a request has finish != kNone; it is the last.
struct TokenEvent {
  // Absent in a finish without token (cancel, error, score only). An EOS or stop id that ends the answer is here too.
  std::optional<int32_t> token;
  std::optional<TokenLogprobs> logprobs;
  std::vector<TokenLogprobs> prompt_logprobs;  // with the first event, when asked for; entry 0 is the second prompt token
  FinishReason finish = FinishReason::kNone;
  Status status;                             // finish == kError: why
  int32_t prompt_tokens = 0;                 // in the last event
  int32_t cached_tokens = 0;                 // prompt tokens taken from the prefix cache; in the last event
  RequestTimes times;                        // in the last event
};

class Stream {
 public:
  explicit Stream(RequestId id) : id_(id), ring_(kRingStart) {}
  RequestId id() const { return id_; }

  // Reader.
  std::optional<TokenEvent> poll();
  // Waits; nullopt after the last event or on timeout.
  std::optional<TokenEvent> next(Duration timeout = from_seconds(3600));
  // Rung by the engine's thread after every push, outside the lock; must not block. Rings once at once if events wait.
  void set_bell(std::function<void()> bell);
  // The reader has gone away: the engine cancels the request at its next step.
  void abandon() { abandoned_.store(true, std::memory_order_relaxed); }

  // Engine.
  void push(TokenEvent event);
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

 private:
  // The ring starts with this many places and doubles when the reader lags, so that a reader who keeps up costs the
  // engine's thread no allocation.
  static constexpr size_t kRingStart = 8;
  std::optional<TokenEvent> pop_locked();

  const RequestId id_;
  std::atomic<bool> abandoned_{false};
  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<TokenEvent> ring_;
  size_t head_ = 0;
  size_t count_ = 0;
  std::shared_ptr<const std::function<void()>> bell_;
  bool finished_ = false;
};

}  // namespace umbel
