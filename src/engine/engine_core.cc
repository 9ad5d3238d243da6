#include "engine/engine_core.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace umbel {
namespace {

// How many waiting requests with adapters get their pins ahead of time while all places are taken.
constexpr size_t kPrefetchedAdapters = 8;

constexpr int32_t kBlock = kernels::kKvBlockSize;

bool contains(std::span<const int32_t> ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

int32_t common_blocks(std::span<const int32_t> a, std::span<const int32_t> b, int32_t blocks_max) {
  const size_t limit = std::min({a.size(), b.size(), static_cast<size_t>(blocks_max) * kBlock});
  size_t common = 0;
  while (common < limit && a[common] == b[common]) ++common;
  return static_cast<int32_t>(common) / kBlock;
}

Status bad_token(const char* what, int32_t id, int64_t vocab) {
  return invalid_argument(std::string(what) + " token " + std::to_string(id) + " is outside the vocabulary of " +
                          std::to_string(vocab) + " tokens");
}

}  // namespace

Status validate_request(const Request& request, const ModelFacts& facts, const Limits& limits) {
  if (request.prompt.empty()) return invalid_argument("the prompt is empty: it needs at least one token");
  for (int32_t id : request.prompt) {
    if (id < 0 || id >= facts.vocab) return bad_token("prompt", id, facts.vocab);
  }
  if (request.max_tokens < 0) return invalid_argument("max_tokens must be at least 0");
  if (request.min_tokens < 0) return invalid_argument("min_tokens must be at least 0");
  if (request.min_tokens > request.max_tokens) {
    return invalid_argument("min_tokens (" + std::to_string(request.min_tokens) + ") is larger than max_tokens (" +
                            std::to_string(request.max_tokens) + ")");
  }
  const int64_t total = static_cast<int64_t>(request.prompt.size()) + request.max_tokens;
  const int64_t kv_tokens = static_cast<int64_t>(limits.kv_blocks) * kBlock;
  const int64_t limit = std::min<int64_t>(limits.context_max, kv_tokens);
  if (total > limit) {
    const char* what = limit == limits.context_max ? "the context has " : "the KV memory has room for ";
    return Status(Code::kTooLong, "the prompt has " + std::to_string(request.prompt.size()) + " tokens and " +
                                      std::to_string(request.max_tokens) + " more are asked for, " +
                                      std::to_string(total) + " in all, but " + what + std::to_string(limit));
  }
  return validate_sampling(request.sampling, facts.vocab);
}

EngineCore::EngineCore(const CoreParts& parts, const ModelFacts& facts, const Limits& limits)
    : parts_(parts), facts_(facts), limits_(limits), pool_(limits.kv_blocks), cache_(pool_) {
  const size_t sequences = limits.sequences_max;
  waiting_.reserve(limits.queue_max + sequences);
  running_.reserve(sequences);
  views_.reserve(sequences);
  schedule_.reserve(limits.sequences_max);
  plan_.entries.reserve(sequences);
  planned_.reserve(sequences);
  jobs_.reserve(step_logit_rows_max(limits));
  blocked_adapters_.reserve(sequences);
  finished_ids_.reserve(limits.queue_max + sequences);
  for (int thread = 0; thread < parts.pool.threads(); ++thread) scratches_.emplace_back(facts.vocab);
}

EngineCore::~EngineCore() { finish_all(FinishReason::kCancelled, ok_status()); }

void EngineCore::add(Submission submission) {
  waiting_.push_back(std::make_unique<Sequence>(std::move(submission), next_arrival_++));
  Sequence& sequence = *waiting_.back();
  const bool length_matters =
      facts_.dynamic_rope_context > 0 && sequence.prompt_tokens() > facts_.dynamic_rope_context;
  sequence.caches = limits_.prefix_cache && !length_matters;
}

EngineCore::Outcome EngineCore::step() {
  ++step_;
  const TimePoint now = parts_.clock.now();
  sweep(now);
  admit(now);
  make_plan(now);
  stats_.batch_rows = plan_.rows();
  stats_.batch_adapters = plan_.adapters();
  if (plan_.entries.empty()) {
    if (!schedule_.preempted.empty() || !running_.empty()) return Outcome::kRan;
    return waiting_.empty() ? Outcome::kIdle : Outcome::kBlocked;
  }
  ++stats_.steps;
  const Ticket ticket = parts_.runner.launch(plan_);
  commit(parts_.runner.collect(ticket));
  return Outcome::kRan;
}

// ---- sweep: those that nobody waits for any more --------------------------------------------------------------------

void EngineCore::sweep(TimePoint now) {
  sweep_list(waiting_, now);
  sweep_list(running_, now);
  drop_done();
}

void EngineCore::sweep_list(std::vector<SequencePtr>& list, TimePoint now) {
  for (SequencePtr& sequence : list) {
    if (sequence->stream().abandoned()) {
      finish(*sequence, {.finish = FinishReason::kCancelled}, now);
      continue;
    }
    const std::optional<Duration>& deadline = sequence->request().deadline;
    if (deadline && now - sequence->arrived() >= *deadline) {
      Status late(Code::kDeadlineExceeded, "the request's deadline of " + std::to_string(to_seconds(*deadline)) +
                                               " s is over after " + std::to_string(sequence->answer_tokens()) +
                                               " tokens");
      finish(*sequence, {.finish = FinishReason::kError, .status = std::move(late)}, now);
    }
  }
}

void EngineCore::finish_all(FinishReason reason, const Status& status) {
  const TimePoint now = parts_.clock.now();
  for (auto* list : {&waiting_, &running_}) {
    for (SequencePtr& sequence : *list) finish(*sequence, {.finish = reason, .status = status}, now);
  }
  drop_done();
}

// ---- admit: first come, first served --------------------------------------------------------------------------------

void EngineCore::admit(TimePoint now) {
  blocked_adapters_.clear();
  bool held_for_older = false;  // an older request has waited too long for its adapter
  for (size_t index = 0; index < waiting_.size();) {
    if (running_.size() >= static_cast<size_t>(limits_.sequences_max)) {
      prefetch_adapters(index, now);
      break;
    }
    Sequence& candidate = *waiting_[index];
    if (!candidate.pinned()) {
      const bool held = held_for_older && candidate.request().adapter != nullptr;
      if (held || !try_pin(candidate, now)) {
        if (!held && !candidate.done && now - candidate.blocked_since >= kAdapterPatience) {
          held_for_older = true;
          unpin_waiting(index + 1);
        }
        ++index;
        continue;
      }
    }
    look_up_root(candidate);
    const int32_t shared =
        candidate.caches ? cache_.match_length(candidate.root, candidate.tokens(), shared_blocks_max(candidate)) : 0;
    if (better_soon(candidate, shared)) {
      ++index;
      continue;
    }
    if (!may_start(candidate, shared)) break;  // nobody younger takes the memory that this one waits for
    start(index);
  }
  drop_done();
}

bool EngineCore::try_pin(Sequence& sequence, TimePoint now) {
  const AdapterRef& ref = sequence.request().adapter;
  const auto asked = std::find(blocked_adapters_.begin(), blocked_adapters_.end(), ref.get());
  if (asked == blocked_adapters_.end()) {
    auto handle = parts_.adapters.try_pin(ref);
    if (!handle.ok()) {
      finish(sequence, {.finish = FinishReason::kError, .status = handle.status()}, now);
      return false;
    }
    if (handle->has_value()) {
      sequence.pin(std::move(**handle));
      return true;
    }
    if (blocked_adapters_.size() < blocked_adapters_.capacity()) blocked_adapters_.push_back(ref.get());
  }
  if (sequence.blocked_since == TimePoint{}) sequence.blocked_since = now;
  return false;
}

void EngineCore::unpin_waiting(size_t first) {
  for (size_t index = first; index < waiting_.size(); ++index) waiting_[index]->unpin();
}

// Those next in line get their pins early, so that their adapters load meanwhile and are not pushed out by one another. One
// after the other: a younger one must not take the room that an older one waits for.
void EngineCore::prefetch_adapters(size_t first, TimePoint now) {
  size_t asked = 0;
  for (size_t index = first; index < waiting_.size() && asked < kPrefetchedAdapters; ++index) {
    Sequence& sequence = *waiting_[index];
    if (sequence.request().adapter == nullptr) continue;
    if (!sequence.pinned() && !try_pin(sequence, now) && !sequence.done) break;
    ++asked;
  }
}

void EngineCore::look_up_root(Sequence& sequence) {
  if (!sequence.caches || sequence.root != 0) return;
  const AdapterRef& ref = sequence.request().adapter;
  sequence.root = cache_.root(ref == nullptr ? std::string_view() : std::string_view(parts_.adapters.digest(ref)));
}

int32_t EngineCore::shared_blocks_max(const Sequence& sequence) const {
  // The last token is always computed, for its logits; so is every prompt token whose logprobs are still wanted.
  int32_t tokens = sequence.target() - 1;
  if (sequence.wants_prompt_logprobs()) tokens = std::min(tokens, sequence.logprobs_done());
  return std::max(tokens, 0) / kBlock;
}

bool EngineCore::better_soon(const Sequence& candidate, int32_t shared) const {
  if (!candidate.caches) return false;
  const int32_t blocks_max = shared_blocks_max(candidate);
  if (shared >= blocks_max) return false;
  return std::any_of(running_.begin(), running_.end(), [&](const SequencePtr& other) {
    if (!other->caches || other->root != candidate.root || other->arrival() > candidate.arrival()) return false;
    if (other->remaining() <= 1) return false;
    const int32_t common = common_blocks(candidate.tokens(), other->tokens(), blocks_max);
    return common > shared && other->computed() / kBlock < common;
  });
}

bool EngineCore::may_start(const Sequence& candidate, int32_t shared) const {
  AdmissionView view{.running = static_cast<int32_t>(running_.size()),
                     .sequences_max = limits_.sequences_max,
                     .blocks_available = pool_.available(),
                     .blocks_needed = blocks_for(static_cast<int32_t>(candidate.tokens().size())) - shared,
                     .blocks_idle_shared = std::min(shared, pool_.idle())};
  for (const SequencePtr& other : running_) {
    view.blocks_promised += blocks_for(static_cast<int32_t>(other->tokens().size())) -
                            static_cast<int32_t>(other->blocks().size());
  }
  return parts_.policy.admits(view);
}

void EngineCore::start(size_t waiting_index) {
  SequencePtr owned = std::move(waiting_[waiting_index]);
  waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(waiting_index));
  Sequence& sequence = *owned;
  if (sequence.caches) {
    sequence.adopt_prefix(cache_, shared_blocks_max(sequence));
    stats_.prefix_hit_tokens += sequence.computed();
  }
  if (!sequence.started) {
    sequence.started = true;
    sequence.cached_tokens = sequence.computed();
    ++left_queue_;
  }
  sequence.served_step = step_;
  sequence.group = sequence.adapter() == nullptr ? 0 : sequence.arrival();
  for (const SequencePtr& other : running_) {
    if (other->adapter() == sequence.adapter()) sequence.group = other->group;
  }
  if (sequence.remaining() <= 0) {  // a one-token prompt to score: nothing to compute
    finish(sequence, {.finish = FinishReason::kLength}, parts_.clock.now());
  }
  running_.push_back(std::move(owned));
}

// ---- plan -----------------------------------------------------------------------------------------------------------

void EngineCore::make_plan(TimePoint now) {
  plan_.clear();
  planned_.clear();
  views_.clear();
  for (const SequencePtr& sequence : running_) views_.push_back(sequence->view(pool_));
  schedule({views_, pool_.available(), step_, limits_, parts_.policy}, schedule_);
  for (int32_t index : schedule_.preempted) running_[index]->release_blocks();
  // One adapter's sequences become neighbours.
  std::sort(schedule_.rows.begin(), schedule_.rows.end(), [&](const ScheduledRows& a, const ScheduledRows& b) {
    const Sequence& left = *running_[a.sequence];
    const Sequence& right = *running_[b.sequence];
    return left.group != right.group ? left.group < right.group : left.arrival() < right.arrival();
  });
  for (const ScheduledRows& share : schedule_.rows) {
    Sequence& sequence = *running_[share.sequence];
    sequence.grow(pool_, sequence.computed() + share.rows);
    const int32_t end = sequence.computed() + share.rows;
    int32_t logit_rows = end == sequence.target() && !sequence.score_only() ? 1 : 0;
    if (sequence.wants_prompt_logprobs()) {
      logit_rows = std::max(0, end - std::max(sequence.logprobs_done(), sequence.computed()));
    }
    plan_.entries.push_back({.position = sequence.computed(),
                             .tokens = sequence.tokens().subspan(sequence.computed(), share.rows),
                             .blocks = sequence.block_table(),
                             .adapter = sequence.adapter(),
                             .prompt_tokens = sequence.prompt_tokens(),
                             .logit_rows = logit_rows});
    planned_.push_back(&sequence);
    if (sequence.scheduled_at == TimePoint{}) sequence.scheduled_at = now;
  }
  preempt();
}

void EngineCore::preempt() {
  for (int32_t index : schedule_.preempted) {
    SequencePtr owned = std::move(running_[index]);
    const auto place = std::find_if(waiting_.begin(), waiting_.end(), [&](const SequencePtr& other) {
      return other->arrival() > owned->arrival();
    });
    waiting_.insert(place, std::move(owned));
    ++stats_.preemptions;
  }
  if (!schedule_.preempted.empty()) std::erase(running_, nullptr);
}

// ---- commit ---------------------------------------------------------------------------------------------------------

void EngineCore::collect_jobs() {
  jobs_.clear();
  int64_t row = 0;
  for (size_t index = 0; index < planned_.size(); ++index) {
    const PlanEntry& entry = plan_.entries[index];
    Sequence& sequence = *planned_[index];
    const int32_t end = entry.position + entry.rows();
    for (int32_t position = end - entry.logit_rows; position < end; ++position, ++row) {
      const bool samples = position + 1 == static_cast<int32_t>(sequence.tokens().size());
      jobs_.push_back({.sequence = &sequence, .row = row, .position = position, .samples = samples, .token = -1});
    }
  }
}

void EngineCore::run_job(LogitJob& job, ConstMatrixF logits, SamplerScratch& scratch) const {
  const Sequence& sequence = *job.sequence;
  const Request& request = sequence.request();
  const std::span<const float> row = logits.row_span(job.row);
  if (!job.samples) {
    job.token = sequence.tokens()[job.position + 1];
    job.logprobs = token_logprobs(row, job.token, request.prompt_logprobs, scratch);
    return;
  }
  SampleInput input{request.sampling, row, sequence.tokens(), sequence.prompt_tokens()};
  if (sequence.answer_tokens() < request.min_tokens) {
    input.banned = request.eos_ids;
    input.banned_more = request.stop_ids;
  }
  job.token = sample_token(input, scratch);
  if (request.logprobs >= 0 && job.token >= 0) job.logprobs = token_logprobs(row, job.token, request.logprobs, scratch);
}

void EngineCore::commit(ConstMatrixF logits) {
  collect_jobs();
  parts_.pool.parallel_for(static_cast<int64_t>(jobs_.size()), [&](int64_t job, int worker) {
    run_job(jobs_[job], logits, scratches_[worker]);
  });
  const TimePoint now = parts_.clock.now();
  for (size_t index = 0; index < planned_.size(); ++index) {
    Sequence& sequence = *planned_[index];
    const PlanEntry& entry = plan_.entries[index];
    stats_.prompt_tokens += std::clamp(entry.prompt_tokens - entry.position, 0, entry.rows());
    sequence.served_step = step_;
    sequence.advance(entry.rows());
    if (sequence.caches) sequence.remember_blocks(cache_);
  }
  for (LogitJob& job : jobs_) {
    if (job.samples) {
      take_token(*job.sequence, job, now);
    } else {
      job.sequence->add_prompt_logprobs(std::move(job.logprobs));
    }
  }
  for (Sequence* sequence : planned_) {
    if (!sequence->done && sequence->score_only() && sequence->remaining() <= 0) {
      finish(*sequence, {.finish = FinishReason::kLength}, now);
    }
  }
  drop_done();
}

void EngineCore::take_token(Sequence& sequence, LogitJob& job, TimePoint now) {
  const Request& request = sequence.request();
  TokenEvent event;
  if (job.token < 0) {
    event.finish = FinishReason::kError;
    event.status = internal_error("the model gave no usable logits (all of them NaN or -inf)");
    return finish(sequence, std::move(event), now);
  }
  sequence.append(job.token);
  ++stats_.generated_tokens;
  event.token = job.token;
  if (request.logprobs >= 0) event.logprobs = std::move(job.logprobs);
  if (sequence.answer_tokens() == 1) sequence.first_token_at = now;
  if (!request.ignore_eos && contains(request.eos_ids, job.token)) {
    event.finish = FinishReason::kEos;
  } else if (contains(request.stop_ids, job.token)) {
    event.finish = FinishReason::kStop;
  } else if (sequence.answer_tokens() >= request.max_tokens) {
    event.finish = FinishReason::kLength;
  }
  if (event.finish != FinishReason::kNone) return finish(sequence, std::move(event), now);
  event.prompt_logprobs = sequence.take_prompt_logprobs();
  sequence.stream().push(std::move(event));
}

void EngineCore::finish(Sequence& sequence, TokenEvent event, TimePoint now) {
  if (sequence.done) return;
  sequence.done = true;
  if (!sequence.started) ++left_queue_;
  ++stats_.finished;
  event.prompt_logprobs = sequence.take_prompt_logprobs();
  event.prompt_tokens = sequence.prompt_tokens();
  event.cached_tokens = sequence.cached_tokens;
  const auto since_arrival = [&](TimePoint point) { return point == TimePoint{} ? Duration{} : point - sequence.arrived(); };
  event.times = {since_arrival(sequence.scheduled_at), since_arrival(sequence.first_token_at), now - sequence.arrived()};
  finished_ids_.push_back(sequence.stream().id());
  sequence.stream().push(std::move(event));
}

void EngineCore::drop_done() {
  for (auto* list : {&waiting_, &running_}) {
    std::erase_if(*list, [](const SequencePtr& sequence) { return sequence->done; });
  }
}

EngineStats EngineCore::stats() const {
  EngineStats stats = stats_;
  stats.running = running();
  stats.waiting = waiting();
  stats.kv_blocks_used = pool_.held();
  stats.kv_blocks_total = pool_.blocks();
  return stats;
}

}  // namespace umbel
