// EngineCore: the engine without its thread: requests go in, step() does one round of
//   sweep (cancelled, too late) -> admit -> schedule -> run -> commit (sample, tell, finish).
// Who is let in, and who makes place, is FairQueue's to say; who computes how much, FairShares' (docs/scheduling.md).
//
// One thread. Time comes from the given clock, chance from the requests' seeds, so a test can drive it step by step.
// In steady state (no arrivals, no logprobs, readers keep up) a step allocates nothing from the heap.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/threads.h"
#include "engine/adapter_pins.h"
#include "engine/engine.h"
#include "engine/fair_queue.h"
#include "engine/fair_shares.h"
#include "engine/kv_pool.h"
#include "engine/plan.h"
#include "engine/policy.h"
#include "engine/prefix_cache.h"
#include "engine/queue_counts.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"

namespace umbel {

// What the core must know of the model.
struct ModelFacts {
  int64_t vocab = 0;
  // Dynamic RoPE: prompts longer than this bypass the prefix cache, since their keys depend on the prompt's length.
  // 0 = another kind of RoPE.
  int32_t dynamic_rope_context = 0;
  std::vector<int32_t> tokenless = {};  // ids below vocab that no token has; never sampled
};

// Plain references; all outlive the core.
struct CoreParts {
  Runner& runner;
  AdapterPins& adapters;
  const Clock& clock;
  ThreadPool& pool;  // sampling is spread over it
  const Policy& policy;
};

// Why a request can't be taken: kInvalidArgument or kTooLong. Any thread.
Status validate_request(const Request& request, const ModelFacts& facts, const Limits& limits);

class EngineCore {
 public:
  enum class Outcome : uint8_t {
    kIdle,     // nothing to do until the next add()
    kBlocked,  // requests wait for their adapters only: try again soon
    kRan,
  };

  EngineCore(const CoreParts& parts, const ModelFacts& facts, const Limits& limits);
  ~EngineCore();

  // REQUIRES validate_request(submission.request).ok().
  void add(Submission submission);
  Outcome step();
  // Ends everything with this reason (kCancelled, or kError with the status).
  void finish_all(FinishReason reason, const Status& status);

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  // Requests that have left the queue since the last call to clear_left_queue(): started, or ended before.
  const std::vector<QueuePlace>& left_queue() const { return left_queue_; }
  void clear_left_queue() { left_queue_.clear(); }
  // Ids that ended since the last call to clear_finished().
  const std::vector<RequestId>& finished_ids() const { return finished_ids_; }
  void clear_finished() { finished_ids_.clear(); }
  EngineStats stats() const;

  // For tests.
  const Plan& last_plan() const { return plan_; }
  const KvPool& pool() const { return pool_; }
  // The running sequences as the last step's scheduler saw them, and that step's number.
  const std::vector<SequenceView>& last_views() const { return views_; }
  int64_t step_number() const { return step_; }

 private:
  using SequencePtr = std::unique_ptr<Sequence>;
  // One row of logits to look at: a prompt position's logprobs, or the next token.
  struct LogitJob {
    Sequence* sequence;
    int64_t row;
    int32_t position;
    bool samples;
    int32_t token;
    TokenLogprobs logprobs;
  };

  void sweep(TimePoint now);
  void sweep_list(std::vector<SequencePtr>& list, TimePoint now);
  enum class Verdict : uint8_t {
    kStart,
    kPassOver,  // not now; the next of its lane may
    kClose,     // not now, and nobody of its lane: a cap, or its adapter
    kGone,      // it has just ended
    kFull,      // all places are taken
    kStop,      // it waits for memory, and everybody after it
  };
  void admit(TimePoint now);
  // held_after: requests that arrived later don't get adapters now. Preempts others when it says kStart and must.
  Verdict consider(Sequence& candidate, uint64_t held_after, TimePoint now);
  uint64_t hold_for_the_stuck(TimePoint now);
  bool prefetch(Sequence& sequence, uint64_t held_after, TimePoint now);
  AdmissionView admission_view(const Sequence& candidate, int32_t shared) const;
  bool make_room(const Sequence& candidate, AdmissionView view);
  // False when it can't be pinned now; it may also have ended with an error.
  bool try_pin(Sequence& sequence, TimePoint now);
  // The request's token ids against the vocabulary of its adapter, which is pinned.
  Status validate_vocabulary(const Sequence& sequence) const;
  int64_t vocabulary_of(const Sequence& sequence) const;
  // True when an older running sequence of its lane is just computing a prefix that the candidate could share.
  bool better_soon(const Sequence& candidate, int32_t shared) const;
  int32_t shared_blocks_max(const Sequence& sequence) const;
  void look_up_root(Sequence& sequence);
  void start(size_t waiting_index);
  void make_plan(TimePoint now);
  void preempt(SequencePtr& running);  // leaves null
  void return_preempted();
  void commit(ConstMatrixF logits);
  void collect_jobs();
  void run_job(LogitJob& job, ConstMatrixF logits, SamplerScratch& scratch) const;
  void take_token(Sequence& sequence, LogitJob& job, TimePoint now);
  void finish(Sequence& sequence, TokenEvent event, TimePoint now);
  void drop_done();

  CoreParts parts_;
  ModelFacts facts_;
  Limits limits_;
  KvPool pool_;
  PrefixCache cache_;
  FairQueue queue_;
  FairShares shares_;
  std::vector<SequencePtr> waiting_;  // by arrival
  std::vector<WaitingView> waiting_views_;
  std::vector<SequencePtr> running_;
  std::vector<SequencePtr> preempted_;  // in this step, on their way back to waiting_
  std::vector<Sequence*> victims_;
  std::vector<int32_t> claims_;  // scratch
  std::vector<SequenceView> views_;
  Schedule schedule_;
  Plan plan_;
  std::vector<Sequence*> planned_;  // beside plan_.entries
  std::vector<LogitJob> jobs_;
  std::vector<SamplerScratch> scratches_;  // one per thread
  std::vector<const void*> blocked_adapters_;  // asked for in this step already, in vain
  std::vector<RequestId> finished_ids_;
  uint64_t next_arrival_ = 1;
  int64_t step_ = 0;
  std::vector<QueuePlace> left_queue_;
  EngineStats stats_;
};

}  // namespace umbel
