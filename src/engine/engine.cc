#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/log.h"
#include "base/memory_reserve.h"
#include "base/queue.h"
#include "engine/engine_core.h"
#include "engine/model_runner.h"
#include "engine/queue_counts.h"

namespace umbel {
namespace {

// How long the engine's thread sleeps when requests wait for their adapters only.
constexpr Duration kBlockedNap = std::chrono::milliseconds(1);
constexpr Duration kIdleNap = std::chrono::hours(1);

ModelFacts facts_of(const EngineParts& parts) {
  const Model& model = *parts.model;
  ModelFacts facts{.vocab = model.config().vocab_size, .tokenless = parts.tokenless};
  const RopeConfig& rope = model.config().rope;
  if (rope.by_length()) {
    facts.dynamic_rope_context = static_cast<int32_t>(rope.original_max_position_embeddings > 0
                                                          ? rope.original_max_position_embeddings
                                                          : model.config().max_position_embeddings);
  }
  return facts;
}

// The core on a thread of its own. Public methods: any thread; everything below "engine thread": that one.
class ThreadedEngine final : public Engine {
 public:
  explicit ThreadedEngine(EngineParts parts)
      : parts_(std::move(parts)),
        facts_(facts_of(parts_)),
        inbox_(static_cast<size_t>(queue_places_max(parts_.limits))),
        queued_(parts_.limits),
        pool_(std::max(parts_.threads, 1)),
        pins_(parts_.library),
        runner_(parts_.model, parts_.choice, pool_, parts_.limits),
        core_({runner_, pins_, clock_, pool_, policy_}, facts_, parts_.limits),
        thread_([this] { main(); }) {}

  ~ThreadedEngine() override {
    stop_.store(true);
    inbox_.close();
    thread_.join();
  }

  Result<std::shared_ptr<Stream>> submit(Request request) override;
  void cancel(RequestId id) override;
  void drain(Duration timeout) override;
  EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.waiting = std::max<int64_t>(stats.waiting, queued_.waiting());
    return stats;
  }
  double retry_after_seconds() const override;
  const Limits& limits() const override { return parts_.limits; }

 private:
  // Engine thread.
  void main();
  EngineCore::Outcome turn(EngineCore::Outcome last);
  void publish();
  void restart_rate();

  const EngineParts parts_;
  const ModelFacts facts_;
  BoundedQueue<Submission> inbox_;
  std::atomic<bool> cancel_all_{false};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> next_id_{1};

  mutable std::mutex mutex_;  // of the members down to the blank line
  std::condition_variable ended_;
  QueueCounts queued_;  // submitted and not started
  bool draining_ = false;
  EngineStats stats_;
  double finished_per_second_ = 0.0;  // smoothed
  TimePoint rated_at_{};
  int64_t rated_finished_ = 0;
  std::unordered_map<RequestId, std::weak_ptr<Stream>> open_;

  RealClock clock_;
  Policy policy_;
  ThreadPool pool_;
  LibraryPins pins_;
  ModelRunner runner_;
  EngineCore core_;
  std::thread thread_;  // last: starts when everything above is there
};

Result<std::shared_ptr<Stream>> ThreadedEngine::submit(Request request) {
  RETURN_IF_ERROR(validate_request(request, facts_, parts_.limits));
  if (request.adapter != nullptr && parts_.library == nullptr) {
    return invalid_argument("this engine serves the base only, it has no adapters");
  }
  const QueuePlace place{request.tenant, request.adapter.get()};
  const TenantCaps caps = request.tenant_caps;
  auto stream = std::make_shared<Stream>(next_id_.fetch_add(1));
  Submission submission{std::move(request), stream, clock_.now()};
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(queued_.enter(place, caps));
  if (draining_ || !inbox_.try_push(submission)) {  // the inbox has room for all places: it refuses when closed only
    queued_.leave(place);
    return Status(Code::kUnavailable, "the server is shutting down");
  }
  open_.emplace(stream->id(), stream);
  return stream;
}

void ThreadedEngine::cancel(RequestId id) {
  std::shared_ptr<Stream> stream;
  {
    std::lock_guard lock(mutex_);
    if (auto found = open_.find(id); found != open_.end()) stream = found->second.lock();
  }
  if (stream) stream->abandon();
}

void ThreadedEngine::drain(Duration timeout) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto empty = [this] { return open_.empty(); };
  if (ended_.wait_for(lock, timeout, empty)) return;
  LOG_WARN("{} requests did not finish in time and are cancelled", open_.size());
  cancel_all_.store(true);
  ended_.wait(lock, empty);
}

double ThreadedEngine::retry_after_seconds() const {
  std::lock_guard lock(mutex_);
  const double queue = static_cast<double>(queued_.waiting());
  if (finished_per_second_ <= 0.0) return 1.0;
  return std::clamp(queue / finished_per_second_ / 2.0, 1.0, 60.0);
}

void ThreadedEngine::publish() {
  std::lock_guard lock(mutex_);
  for (const QueuePlace& place : core_.left_queue()) queued_.leave(place);
  core_.clear_left_queue();
  stats_ = core_.stats();
  for (RequestId id : core_.finished_ids()) open_.erase(id);
  if (!core_.finished_ids().empty()) ended_.notify_all();
  core_.clear_finished();
  const TimePoint now = clock_.now();
  const double seconds = to_seconds(now - rated_at_);
  if (seconds >= 1.0) {
    const double rate = static_cast<double>(stats_.finished - rated_finished_) / seconds;
    finished_per_second_ = finished_per_second_ == 0.0 ? rate : 0.5 * finished_per_second_ + 0.5 * rate;
    rated_at_ = now;
    rated_finished_ = stats_.finished;
  }
}

// Idle time says nothing about speed.
void ThreadedEngine::restart_rate() {
  std::lock_guard lock(mutex_);
  rated_at_ = clock_.now();
  rated_finished_ = stats_.finished;
}

EngineCore::Outcome ThreadedEngine::turn(EngineCore::Outcome last) {
  std::optional<Submission> arrived;
  if (last == EngineCore::Outcome::kRan) {
    arrived = inbox_.try_pop();
  } else {
    arrived = inbox_.pop(last == EngineCore::Outcome::kIdle ? kIdleNap : kBlockedNap);
  }
  if (last == EngineCore::Outcome::kIdle) restart_rate();
  for (; arrived; arrived = inbox_.try_pop()) core_.add(std::move(*arrived));
  if (cancel_all_.load()) core_.finish_all(FinishReason::kCancelled, ok_status());
  const EngineCore::Outcome outcome = core_.step();
  publish();
  return outcome;
}

// Tokens' events are small and come out of the reserve before they fail; where that is gone too, everything that runs is given up.
void ThreadedEngine::main() {
  const MemoryPriority first;
  EngineCore::Outcome outcome = EngineCore::Outcome::kIdle;
  while (!stop_.load()) {
    try {
      outcome = turn(outcome);
    } catch (const std::bad_alloc&) {
      core_.finish_all(FinishReason::kError, Status(Code::kUnavailable, "the server ran out of memory; send it again"));
      publish();
      outcome = EngineCore::Outcome::kRan;
    }
  }
  while (auto arrived = inbox_.try_pop()) core_.add(std::move(*arrived));
  core_.finish_all(FinishReason::kCancelled, ok_status());
  publish();
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::start(EngineParts parts) {
  const Limits& limits = parts.limits;
  if (parts.model == nullptr) return invalid_argument("an engine needs a model");
  if (limits.context_max <= 0 || limits.kv_blocks <= 0) {
    return failed_precondition("the limits have zeros: plan_memory fills them");
  }
  return std::unique_ptr<Engine>(std::make_unique<ThreadedEngine>(std::move(parts)));
}

}  // namespace umbel
