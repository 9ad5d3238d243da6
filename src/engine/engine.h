// Engine: continuous batching over one model: schedule, run, commit, step after step.
//
// One thread owns everything inside (scheduler, KV pool, sequences, sampler); the outside talks to it through a bounded
// inbox and Streams. Any thread may call the public methods.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "engine/events.h"
#include "engine/limits.h"
#include "engine/request.h"
#include "models/model.h"
#include "store/library.h"

namespace umbel {

struct EngineStats {
  int64_t steps = 0;
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t kv_blocks_used = 0;
  int64_t kv_blocks_total = 0;
  int64_t prompt_tokens = 0;      // computed (prefix hits not counted)
  int64_t generated_tokens = 0;
  int64_t prefix_hit_tokens = 0;
  int64_t preemptions = 0;
  int64_t finished = 0;
  int64_t batch_rows = 0;         // of the last step
  int64_t batch_adapters = 0;     // distinct adapters in the last step
};

struct EngineParts {
  std::shared_ptr<const Model> model;
  AdapterLibrary* library = nullptr;   // outlives the engine; null = base only
  kernels::Choice choice;
  int threads = 1;                     // compute threads
  Limits limits;                       // as filled by plan_memory
  std::vector<int32_t> tokenless = {};  // ids of the base's embedding that its tokenizer has no token for; never sampled
};

class Engine {
 public:
  // Starts the engine's thread.
  static Result<std::unique_ptr<Engine>> start(EngineParts parts);
  virtual ~Engine() = default;  // cancels what runs, joins

  // kOverloaded when the queue is full, or the tenant's or the adapter's part of it (QueueCounts), kTooLong naming both numbers, kUnavailable while draining, kInvalidArgument for
  // ids outside the vocabulary or an empty prompt.
  virtual Result<std::shared_ptr<Stream>> submit(Request request) = 0;
  virtual void cancel(RequestId id) = 0;
  // No new requests; returns when the running ones have finished or the time is over (then they are cancelled).
  virtual void drain(Duration timeout) = 0;
  virtual EngineStats stats() const = 0;
  // Seconds after which a refused client may try again (for Retry-After): from queue length and recent speed.
  virtual double retry_after_seconds() const = 0;
  virtual const Limits& limits() const = 0;
};

}  // namespace umbel
