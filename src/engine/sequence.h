// Sequence: one request inside the engine: its tokens, how many of them are in the KV cache, its blocks, its pin.
//
// Owned by EngineCore's lists; one thread. All buffers are sized when it is made, so steps allocate nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/adapter_pins.h"
#include "engine/events.h"
#include "engine/kv_pool.h"
#include "engine/policy.h"
#include "engine/prefix_cache.h"
#include "engine/queue_counts.h"
#include "engine/request.h"

namespace umbel {

// A request on its way into the engine.
struct Submission {
  Request request;
  std::shared_ptr<Stream> stream;
  TimePoint arrived;
};

class Sequence {
 public:
  // arrival rises with submission and is unique.
  Sequence(Submission submission, uint64_t arrival);
  ~Sequence() { release_blocks(); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const Request& request() const { return request_; }
  Stream& stream() const { return *stream_; }
  uint64_t arrival() const { return arrival_; }
  TimePoint arrived() const { return arrived_; }

  QueuePlace queue_place() const { return {request_.tenant, request_.adapter.get()}; }

  // Prompt, then answer.
  std::span<const int32_t> tokens() const { return tokens_; }
  int32_t prompt_tokens() const { return prompt_tokens_; }
  int32_t answer_tokens() const { return static_cast<int32_t>(tokens_.size()) - prompt_tokens_; }
  bool score_only() const { return request_.max_tokens == 0; }
  // Tokens that must go through the model now: all known ones; score-only requests don't need the last one's logits.
  int32_t target() const { return static_cast<int32_t>(tokens_.size()) - (score_only() ? 1 : 0); }
  int32_t computed() const { return computed_; }
  int32_t remaining() const { return target() - computed_; }

  // Pin.
  bool pinned() const { return pinned_; }
  void pin(AdapterHandle handle);
  void unpin() { handle_ = AdapterHandle(), pinned_ = false; }  // REQUIRES no blocks held
  const Adapter* adapter() const { return handle_.adapter(); }
  int32_t cost() const { return adapter() == nullptr ? 1 : adapter()->cost(); }

  // Memory. Blocks are given back from the last to the first, so that the pool evicts ends of prefixes first.
  void adopt_prefix(PrefixCache& cache, int32_t blocks_max);  // REQUIRES root looked up
  void grow(KvPool& pool, int32_t tokens);
  void release_blocks();
  const std::vector<BlockRef>& blocks() const { return blocks_; }
  const int32_t* block_table() const { return block_table_.data(); }
  int32_t exclusive_blocks(const KvPool& pool) const;

  // Progress.
  void advance(int32_t rows) { computed_ += rows; }
  void append(int32_t token) { tokens_.push_back(token); }
  // Tells the cache of full blocks that are computed and not told of yet.
  void remember_blocks(PrefixCache& cache);

  // Logprobs of the prompt: position `logprobs_done` is the first whose logits are still wanted; prompt_tokens - 1 = all.
  bool wants_prompt_logprobs() const { return logprobs_done_ < prompt_tokens_ - 1; }
  int32_t logprobs_done() const { return logprobs_done_; }
  void add_prompt_logprobs(TokenLogprobs entry);
  std::vector<TokenLogprobs> take_prompt_logprobs() { return std::move(prompt_logprobs_); }

  SequenceView view(const KvPool& pool) const;

  // Facts that the core keeps here.
  int32_t lane = 0;            // in its FairQueue, with the lane's serial number
  uint64_t lane_serial = 0;
  uint64_t stamp = 0;          // of its arrival there
  int64_t refused_step = 0;    // first step in which it could have started but for want of a place or memory; 0 = none
  bool running = false;        // has a place
  uint64_t group = 0;          // sequences of one adapter share it
  int64_t served_step = 0;
  int32_t cached_tokens = 0;   // at its first start
  bool started = false;        // had a row once
  bool caches = true;          // takes part in the prefix cache
  bool done = false;           // its last event is out
  TimePoint scheduled_at{};
  TimePoint first_token_at{};
  TimePoint blocked_since{};   // waiting for its adapter since; zero = not
  PrefixCache::Place root = 0;  // of its adapter's prefix tree; 0 = not looked up yet

 private:
  Request request_;
  std::shared_ptr<Stream> stream_;
  uint64_t arrival_;
  TimePoint arrived_;
  int32_t prompt_tokens_;
  std::vector<int32_t> tokens_;
  int32_t computed_ = 0;
  AdapterHandle handle_;
  bool pinned_ = false;
  std::vector<BlockRef> blocks_;
  std::vector<int32_t> block_table_;
  PrefixCache::Place chain_ = 0;  // place of the last block that the cache knows of
  int32_t chained_ = 0;           // how many it knows of
  int32_t logprobs_done_ = 0;
  std::vector<TokenLogprobs> prompt_logprobs_;
};

}  // namespace umbel
